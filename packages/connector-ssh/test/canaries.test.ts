import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock, type Logger, type ShellTarget } from '@bringup/core';
import ssh2, { type ServerChannel } from 'ssh2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canary, hidden, leaks } from '../../../test/fixtures/canaries.ts';
import { ssh, type SshOptions } from '../src/index.ts';
import { listen, sshServer, type SshServerOptions } from './support/ssh-server.ts';

const password = { password: hidden('ShellTarget.password') };

/** Time for what never comes, cut short; what does come is not hurried. */
const impatient: Clock = {
  now: () => systemClock.now(),
  timer: (delayMs, fire, options) => systemClock.timer(Math.min(delayMs, 250), fire, options),
};

/** Everything that comes out when somebody logs in and runs a command: what is thrown, given back, logged, and the parts. */
async function told(target: ShellTarget, options: SshOptions, clock = systemClock): Promise<Record<string, unknown>> {
  const logged: unknown[] = [];
  const log = (details: object, message: string): void => void logged.push(message, details);
  const logger: Logger = { debug: log, info: log, warn: log, error: log };
  await using connector = ssh({ ...options, logger, clock });
  const session = await connector.connect(target).catch((error: unknown) => error as Error);
  if (session instanceof Error) return { connecting: session, connector, logged };
  const result = await session.exec(['echo', 'hello']).catch((error: unknown) => error);
  await session[Symbol.asyncDispose]();
  return { connector, session, result, logged };
}

describe('no password of an account shows', () => {
  const peers: Readonly<Record<string, (socket: Socket) => unknown>> = {
    'says nothing': () => undefined,
    'speaks HTTP': (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    'repeats everything': (socket) => socket.pipe(socket),
    'hangs up': (socket) => socket.destroy(),
  };
  test.for(Object.entries(peers))('to what only listens and %s', async ([what, onConnection]) => {
    await using server = await listen(onConnection);
    const clock = what === 'says nothing' ? impatient : systemClock;
    expect(leaks(await told({ ...server.target, ...password }, server.options, clock))).toEqual([]);
  });

  type Authentication = { readonly method: string; accept(): void; reject(accepted?: string[]): void } & {
    prompt?(prompts: string[], answer: (answers: string[]) => void): void;
  };
  const servers: Readonly<Record<string, (context: Authentication) => void>> = {
    'refuses it': (context) => context.reject(['password', 'keyboard-interactive']),
    'repeats it in what it asks next': (context) => {
      if (context.prompt === undefined) return context.reject(['keyboard-interactive']);
      context.prompt(['Password: '], ([first = '']) => {
        context.prompt?.([`${first}? Again: `], () => context.reject([first]));
      });
    },
    'names it as a way to log in': (context) => context.reject(['password', canary('ShellTarget.password')]),
    'takes it': (context) => context.accept(),
  };
  test.for(Object.entries(servers))('to a server that %s', async ([, onAuthentication]) => {
    const onCommand = (channel: ServerChannel): void => {
      channel.exit(0);
      channel.end();
    };
    const given = { onCommand, onAuthentication } as unknown as SshServerOptions;
    await using server = await sshServer(given);
    expect(leaks(await told({ ...server.target, ...password }, server.options))).toEqual([]);
  });

  test('to a server with another host key, or where nothing listens', async () => {
    await using server = await sshServer();
    const unknown = { ...server.options, fingerprints: {}, knownHosts: [] };
    expect(leaks(await told({ ...server.target, ...password }, unknown))).toEqual([]);
    expect(leaks(await told({ ...server.target, ...password, port: 1 }, server.options))).toEqual([]);
  });
});

describe('no passphrase of a key shows', () => {
  let folder: string;
  beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'bringup-keys-'))));
  afterAll(() => rm(folder, { recursive: true }));

  const encrypted = (passphrase: string): string =>
    ssh2.utils.generateKeyPairSync('rsa', { bits: 2_048, passphrase, cipher: 'aes256-ctr', rounds: 1 }).private;
  const keys: Readonly<Record<string, () => string>> = {
    'opens it': () => encrypted(canary('ShellTarget.passphrase')),
    'is another one': () => encrypted('another one'),
    'is in the file itself': () => canary('ShellTarget.passphrase'),
    'has a file that is cut': () => encrypted(canary('ShellTarget.passphrase')).slice(0, 400),
  };
  test.for(Object.entries(keys))('where it %s', async ([, key]) => {
    const keyPath = join(folder, 'key');
    await writeFile(keyPath, key(), { mode: 0o600 });
    for (const accepts of [true, false]) {
      await using server = await sshServer({
        onAuthentication: (context) => (accepts ? context.accept() : context.reject()),
        onCommand: (channel) => void channel.end(),
      });
      const { password: _, ...account } = server.target;
      const target = { ...account, keyPath, passphrase: hidden('ShellTarget.passphrase') };
      expect(leaks(await told(target, server.options))).toEqual([]);
    }
  });
});

describe('no password for sudo shows', () => {
  const sudo = { password: hidden('SudoOptions.password') };
  const prompt = 'bringup-sudo-password:';
  const answers: Readonly<Record<string, (channel: ServerChannel, heard: string) => void>> = {
    'does not take it': (channel) => {
      channel.stderr.write(`Sorry, try again.\n${prompt}`);
      channel.exit(1);
      channel.end();
    },
    'repeats it': (channel, heard) => {
      channel.stderr.write(`sudo: ${heard}: incorrect password\n`);
      channel.exit(1);
      channel.end();
    },
    'hangs up': (channel) => channel.destroy(),
    'never says more': () => undefined,
  };
  test.for(Object.entries(answers))('where sudo %s', async ([what, answer]) => {
    const heard: string[] = [];
    await using server = await sshServer({
      onCommand: (channel) => {
        channel.stderr.write(prompt);
        channel.once('data', (bytes: Buffer) => {
          heard.push(bytes.toString().trim());
          answer(channel, bytes.toString().trim());
        });
      },
    });
    const clock = what === 'never says more' ? impatient : systemClock;
    expect(leaks(await told(server.target, { ...server.options, sudo }, clock))).toEqual([]);
    expect(heard).toContain(canary('SudoOptions.password'));
  });
});
