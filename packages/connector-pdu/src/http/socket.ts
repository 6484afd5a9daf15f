import { connect as connectTcp, type Socket } from 'node:net';
import { isIP } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { BringupError } from '@bringup/core';
import { unreachable } from '../errors.ts';

/** Whose certificate an HTTPS device has to show. Without both, one that the machine's authorities vouch for. */
export interface HttpsOptions {
  /** Certificates, in PEM, of the authorities that may vouch for it. */
  readonly ca?: string;
  /** SHA-256 fingerprint of its very certificate, as `openssl x509 -fingerprint -sha256` prints it. */
  readonly fingerprint?: string;
}

/** Where a connection goes to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly https?: HttpsOptions;
}

/**
 * Connects. Over TLS, the certificate is judged before anything is sent.
 * @throws `connection-failed`; `host-key-unknown` and `host-key-changed` for certificates.
 */
export async function openSocket(endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
  const { host, port, https } = endpoint;
  signal.throwIfAborted();
  const socket =
    https === undefined
      ? connectTcp({ host, port })
      : connectTls({
          host,
          port,
          ...(https.ca !== undefined && { ca: https.ca }),
          ...(isIP(host) === 0 && { servername: host }),
          // Judged below, so that the error can say whose certificate it is.
          rejectUnauthorized: false,
        });
  const stop = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(https === undefined ? 'connect' : 'secureConnect', () => resolve());
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the connection was closed')));
    });
    if (https !== undefined) judge(socket as TLSSocket, https);
    socket.setNoDelay(true);
    return socket;
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    if (error instanceof BringupError) throw error;
    throw unreachable(`it can't be reached: ${(error as Error).message}; is it on, and on this network?`, {
      sent: false,
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function judge(socket: TLSSocket, { fingerprint, ca }: HttpsOptions): void {
  const actual = socket.getPeerCertificate().fingerprint256 ?? 'none';
  if (fingerprint !== undefined) {
    if (plain(actual) === plain(fingerprint)) return;
    throw new BringupError(
      'host-key-changed',
      `it shows another certificate than the pinned one: ${actual}; find out why before you pin it`,
      { details: { fingerprint: actual } },
    );
  }
  if (socket.authorized) return;
  const why = String(socket.authorizationError);
  throw new BringupError(
    'host-key-unknown',
    `its certificate is not trusted (${why})${ca === undefined ? '' : ' by the given ca'}; compare its fingerprint ${actual} with the device's own, then give it as https.fingerprint`,
    { details: { fingerprint: actual, reason: why } },
  );
}

function plain(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}
