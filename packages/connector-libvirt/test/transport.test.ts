import { duplexPair } from 'node:stream';
import { BringupError } from '@bringup/core';
import type { ErrorCode, ExecResult, ShellProcess, ShellSession } from '@bringup/core';
import { describe, expect, test } from 'vitest';
import { openTransport } from '../src/transport.ts';
import type { DaemonAddress } from '../src/transport.ts';

interface Host {
  /** What forwarding to a socket does: works, or fails with this code. */
  readonly forward: (socketPath: string) => 'works' | ErrorCode;
  /** What the host says of a socket. */
  readonly socket: 'absent' | 'denied' | 'usable';
  readonly helper: boolean;
}

/** A shell session with just what a transport asks for, and what was asked of it. */
function shellOf(host: Host): { readonly shell: ShellSession; readonly asked: string[] } {
  const asked: string[] = [];
  const result = (exitCode: number, text = ''): ExecResult => ({
    exitCode,
    signal: null,
    stdout: Buffer.from(text),
    stderr: Buffer.alloc(0),
  });
  const process: ShellProcess = {
    stdout: (async function* () {
      yield Buffer.from('from the helper');
    })(),
    stderr: (async function* () {})(),
    write: async () => {},
    end: async () => {},
    kill: async () => {},
    exited: Promise.resolve({ exitCode: 0, signal: null }),
    [Symbol.asyncDispose]: async () => {},
  };
  const shell: Partial<ShellSession> = {
    async forward(target) {
      const path = 'socketPath' in target ? target.socketPath : '';
      asked.push(path);
      const how = host.forward(path);
      if (how === 'works') return duplexPair()[0];
      throw new BringupError(how, `forward: ${how}`);
    },
    async exec(argv) {
      if (argv[2]?.includes('command -v') === true) return result(host.helper ? 0 : 1);
      if (argv[2]?.includes('XDG_RUNTIME_DIR') === true)
        return result(0, '/run/user/7/libvirt/virtqemud-sock\n/run/user/7/libvirt/libvirt-sock\n');
      return result(
        0,
        argv
          .slice(4)
          .map(() => `${host.socket}\n`)
          .join(''),
      );
    },
    async spawn(argv) {
      asked.push(argv.join(' '));
      return process;
    },
  };
  return { shell: shell as ShellSession, asked };
}

const address: DaemonAddress = { uri: 'qemu:///system', socketPath: undefined, hostname: 'host-1' };
const refused = (): ErrorCode => 'connection-failed';

describe('the way to the daemon', () => {
  test('is the first of the usual sockets that answers', async () => {
    const { shell, asked } = shellOf({
      forward: (path) => (path.endsWith('/libvirt-sock') ? 'works' : 'connection-failed'),
      socket: 'usable',
      helper: true,
    });
    await openTransport(shell, address, {});
    expect(asked).toEqual(['/run/libvirt/virtqemud-sock', '/run/libvirt/libvirt-sock']);
  });

  test('for a session daemon leads to the account’s own sockets', async () => {
    const { shell, asked } = shellOf({ forward: () => 'works', socket: 'usable', helper: true });
    await openTransport(shell, { ...address, uri: 'qemu:///session' }, {});
    expect(asked).toEqual(['/run/user/7/libvirt/virtqemud-sock']);
  });

  test('is virt-ssh-helper where sshd forbids forwarding, without trying further sockets', async () => {
    const { shell, asked } = shellOf({ forward: () => 'unsupported', socket: 'usable', helper: true });
    const transport = await openTransport(shell, address, {});
    expect(asked).toEqual(['/run/libvirt/virtqemud-sock', 'virt-ssh-helper qemu:///system']);
    expect(String((await transport[Symbol.asyncIterator]().next()).value)).toBe('from the helper');
  });

  test('closed to the account says which group to join', async () => {
    const { shell } = shellOf({ forward: refused, socket: 'denied', helper: true });
    await expect(openTransport(shell, address, {})).rejects.toMatchObject({
      code: 'authentication-failed',
      message: expect.stringContaining('libvirt group'),
    });
  });

  test('that is not there says what to install', async () => {
    const { shell } = shellOf({ forward: refused, socket: 'absent', helper: false });
    await expect(openTransport(shell, address, {})).rejects.toMatchObject({
      code: 'dependency-missing',
      message: expect.stringContaining('libvirt-daemon-system'),
    });
  });

  test('to a socket that exists but does not answer is a failed connection, worth another try', async () => {
    const { shell } = shellOf({ forward: refused, socket: 'usable', helper: false });
    await expect(openTransport(shell, address, {})).rejects.toMatchObject({
      code: 'connection-failed',
      retryable: true,
    });
  });

  test('lost on the way is said as it is', async () => {
    const { shell, asked } = shellOf({ forward: () => 'connection-lost', socket: 'usable', helper: true });
    await expect(openTransport(shell, address, {})).rejects.toMatchObject({ code: 'connection-lost' });
    expect(asked).toHaveLength(1);
  });
});
