import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { BringupError, invalidInput, isBringupError, throwIfAborted } from '@bringup/core';
import type { CallOptions, Secret, ShellTarget } from '@bringup/core';

/** Ports that libvirtd and virtproxyd listen on. */
const ports = { tls: 16_514, tcp: 16_509 } as const;

/** A connection to the daemon's own TLS port. Certificates and keys are PEM. */
export interface LibvirtTls {
  /** Certificates of the authorities that may have signed the daemon's; nobody else is believed. */
  readonly ca: string;
  /** Our own certificate, which libvirt demands unless it is told otherwise (`tls_no_verify_certificate`). */
  readonly certificate?: string;
  /** Its private key. */
  readonly key?: Secret;
  /** Default 16514. */
  readonly port?: number;
  /** Name that must stand in the daemon's certificate. Default: the host's name. */
  readonly serverName?: string;
}

/** A connection to the daemon's TCP port that everybody on the way can read and change. */
export interface LibvirtUnencryptedTcp {
  /** Default 16509. */
  readonly port?: number;
}

/** What the daemon says when it takes our certificate (libvirt: src/rpc/virnetclient.c). */
const accepted = 1;

/** Connects to the daemon's TLS port. @throws `authentication-failed`, `connection-failed`, `aborted`, `invalid-input`. */
export async function openTls(host: ShellTarget, tls: LibvirtTls, options: CallOptions): Promise<Socket> {
  const { hostname, address = hostname } = host;
  const port = tls.port ?? ports.tls;
  const where = `libvirt's TLS port ${port} of ${hostname}`;
  // Without any, Node would take the machine's own authorities, each of which could speak for the host.
  if (!tls.ca.includes('-----BEGIN CERTIFICATE-----')) {
    throw invalidInput('The TLS of libvirt', [{ path: 'tls.ca', message: 'must hold a certificate in PEM form' }]);
  }
  const open = (): Socket => {
    try {
      return connectTls({
        host: address,
        port,
        servername: tls.serverName ?? hostname,
        ca: tls.ca,
        ...(tls.certificate !== undefined && { cert: tls.certificate }),
        ...(tls.key !== undefined && { key: tls.key.reveal() }),
        minVersion: 'TLSv1.2',
        // What a machine's own environment says must not switch this off.
        rejectUnauthorized: true,
      });
    } catch (error) {
      throw invalidInput('The TLS of libvirt', [{ path: 'tls', message: `could not be used: ${messageOf(error)}` }]);
    }
  };
  return untilReady(open, 'secureConnect', where, options, (socket) => taken(socket, where));
}

/** Connects to the daemon's TCP port. @throws `connection-failed`, `aborted`. */
export async function openUnencryptedTcp(
  { hostname, address = hostname }: ShellTarget,
  { port = ports.tcp }: LibvirtUnencryptedTcp,
  options: CallOptions,
): Promise<Socket> {
  const where = `libvirt's TCP port ${port} of ${hostname}`;
  return untilReady(
    () => connectTcp({ host: address, port }),
    'connect',
    where,
    options,
    async () => {},
  );
}

async function untilReady(
  open: () => Socket,
  event: 'connect' | 'secureConnect',
  where: string,
  { signal }: CallOptions,
  finish: (socket: Socket) => Promise<void>,
): Promise<Socket> {
  throwIfAborted(signal, `Connection to ${where}`);
  const socket = open();
  socket.setNoDelay(true);
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  const onError = (error: Error): void => ended.reject(refused(error, where));
  let shaken = false;
  // Who has shaken hands and then closes without a word does not like our certificate.
  const onClose = (): void => ended.reject(shaken ? notTaken(where) : closed(where));
  const onAbort = (): void => void socket.destroy();
  socket.on('error', onError).on('close', onClose);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const ready = new Promise<void>((resolve) => socket.once(event, () => resolve()));
    const finished = ready.then(() => {
      shaken = true;
      return finish(socket);
    });
    await Promise.race([finished, ended.promise]);
    return socket;
  } catch (error) {
    socket.on('error', () => {}).destroy();
    throwIfAborted(signal, `Connection to ${where}`);
    throw error;
  } finally {
    socket.off('error', onError).off('close', onClose);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** After the handshake the daemon says by one byte whether it takes our certificate. */
async function taken(socket: Socket, where: string): Promise<void> {
  for (;;) {
    const byte = socket.read(1) as Buffer | null;
    if (byte === null) await new Promise<void>((resolve) => socket.once('readable', () => resolve()));
    else if (byte[0] === accepted) return;
    else throw notTaken(where);
  }
}

function notTaken(where: string, cause?: unknown): BringupError {
  return new BringupError(
    'authentication-failed',
    `${where} does not take our certificate: give \`tls.certificate\` and \`tls.key\` that the daemon's CA has signed, and have its name in tls_allowed_dn_list if there is one.`,
    { cause },
  );
}

function closed(where: string): BringupError {
  return new BringupError('connection-failed', `${where} closed the connection before it was ready.`, {
    retryable: true,
  });
}

function refused(error: Error, where: string): BringupError {
  if (isBringupError(error)) return error;
  const { code = '' } = error as NodeJS.ErrnoException;
  if (/^ERR_SSL_.*ALERT|TLSV1.*ALERT/.test(code)) return notTaken(where, error);
  if (/^ERR_TLS|CERT|^UNABLE_TO|SELF_SIGNED/.test(code)) {
    return new BringupError(
      'authentication-failed',
      `The certificate of ${where} is not one to trust: ${error.message}. Check \`tls.ca\`, and \`tls.serverName\` where the certificate has another name.`,
      { cause: error, details: { reason: code } },
    );
  }
  return new BringupError(
    'connection-failed',
    `${where} can't be reached: ${error.message}. Is libvirtd (or virtproxyd) listening there?`,
    { cause: error, retryable: true, details: { reason: code } },
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
