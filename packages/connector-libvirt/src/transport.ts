import { Duplex } from 'node:stream';
import { BringupError, isBringupError } from '@bringup/core';
import type { CallOptions, ShellProcess, ShellSession } from '@bringup/core';
import { accessHint } from './rpc/remote-error.ts';

/** Where the daemon listens. */
export interface DaemonAddress {
  readonly uri: string;
  /** Path of the daemon's socket on the host; undefined: the usual ones are tried. */
  readonly socketPath: string | undefined;
  /** The host's name, for messages. */
  readonly hostname: string;
}

// The modular daemon first: where both exist, libvirtd's socket belongs to a proxy or is stale.
const systemSockets = ['/run/libvirt/virtqemud-sock', '/run/libvirt/libvirt-sock', '/var/run/libvirt/libvirt-sock'];

const sessionSocketsScript = `
dir="\${XDG_RUNTIME_DIR:-$HOME/.cache}/libvirt"
printf '%s\\n' "$dir/virtqemud-sock" "$dir/libvirt-sock"
`;

const inspectScript = `
for path; do
  if [ ! -S "$path" ]; then echo absent
  elif [ ! -w "$path" ]; then echo denied
  else echo usable
  fi
done
`;

async function socketPaths(
  shell: ShellSession,
  address: DaemonAddress,
  options: CallOptions,
): Promise<readonly string[]> {
  if (address.socketPath !== undefined) return [address.socketPath];
  if (!address.uri.endsWith('/session')) return systemSockets;
  const { stdout } = await shell.exec(['sh', '-c', sessionSocketsScript], options);
  return stdout
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
}

/**
 * A byte stream to the host's libvirt daemon: forwarded to its socket, or through `virt-ssh-helper`
 * where forwarding is refused.
 * @throws `authentication-failed`, `dependency-missing`, `connection-failed`, `connection-lost`, `aborted`, `deadline-exceeded`.
 */
export async function openTransport(
  shell: ShellSession,
  address: DaemonAddress,
  options: CallOptions,
): Promise<Duplex> {
  const paths = await socketPaths(shell, address, options);
  let reason: unknown;
  for (const socketPath of paths) {
    try {
      return await shell.forward({ socketPath }, options);
    } catch (error) {
      if (!isBringupError(error, 'connection-failed', 'unsupported', 'authentication-failed', 'not-found')) throw error;
      reason = error;
      if (error.code === 'unsupported') break;
    }
  }
  const { stdout } = await shell.exec(['sh', '-c', inspectScript, 'sh', ...paths], options);
  const found = stdout.toString('utf8').split('\n');
  if (found.includes('denied') && !found.includes('usable')) {
    throw new BringupError(
      'authentication-failed',
      `The account may not use libvirt's socket on ${address.hostname}: permission denied. ${accessHint}`,
      { cause: reason, details: { hostname: address.hostname, sockets: [...paths] } },
    );
  }
  const helper = await startHelper(shell, address, options);
  if (helper !== undefined) return helper;
  if (found.includes('usable')) {
    throw new BringupError(
      'connection-failed',
      `libvirt's socket on ${address.hostname} can't be reached: the daemon does not answer, or sshd forbids forwarding (AllowStreamLocalForwarding) and virt-ssh-helper is not installed.`,
      { cause: reason, retryable: true, details: { hostname: address.hostname, sockets: [...paths] } },
    );
  }
  throw new BringupError(
    'dependency-missing',
    `libvirt is not running on ${address.hostname}: none of ${paths.join(', ')} exists. Install libvirt-daemon-system (Debian, Ubuntu) or libvirt (Fedora) and start virtqemud or libvirtd.`,
    { cause: reason, details: { hostname: address.hostname, sockets: [...paths] } },
  );
}

/** The helper that libvirt's own client starts over SSH; it finds or starts the daemon itself. */
async function startHelper(
  shell: ShellSession,
  address: DaemonAddress,
  options: CallOptions,
): Promise<Duplex | undefined> {
  // It knows only the usual sockets.
  if (address.socketPath !== undefined) return undefined;
  const { exitCode } = await shell.exec(['sh', '-c', 'command -v virt-ssh-helper'], options);
  if (exitCode !== 0) return undefined;
  return processDuplex(await shell.spawn(['virt-ssh-helper', address.uri]));
}

/** A process's standard streams as one duplex. Destroying it ends the process. */
export function processDuplex(process: ShellProcess): Duplex {
  const output = process.stdout[Symbol.asyncIterator]();
  const settle = (work: Promise<unknown>, callback: (error?: Error | null) => void): void => {
    work.then(
      () => callback(),
      (error: unknown) => callback(error instanceof Error ? error : new Error(String(error))),
    );
  };
  const duplex = new Duplex({
    read() {
      output.next().then(
        ({ done, value }) => duplex.push(done === true ? null : value),
        (error: unknown) => duplex.destroy(error instanceof Error ? error : new Error(String(error))),
      );
    },
    write(chunk: Buffer, _encoding, callback) {
      settle(process.write(chunk), callback);
    },
    final(callback) {
      settle(process.end(), callback);
    },
    destroy(error, callback) {
      process[Symbol.asyncDispose]().then(
        () => callback(error),
        () => callback(error),
      );
    },
  });
  return duplex;
}
