import { duplexPair, PassThrough, type Duplex } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Qmp } from '../../src/local/qmp.ts';

const greeting = { QMP: { version: { qemu: { major: 7, minor: 2, micro: 22 } }, capabilities: ['oob'] } };
const event = { event: 'RESUME', timestamp: { seconds: 1, microseconds: 2 } };

interface Command {
  readonly execute: string;
  readonly id: number;
}

/** A QEMU that answers each command with what `answer` makes of it, its bytes cut into `pieceBytes`. */
function fakeQemu(answer: (command: Command) => object | undefined, pieceBytes = 1e9): Duplex {
  const [near, far] = duplexPair();
  const send = (message: object): void => {
    const bytes = Buffer.from(`${JSON.stringify(message)}\r\n`);
    for (let at = 0; at < bytes.length; at += pieceBytes) far.write(bytes.subarray(at, at + pieceBytes));
  };
  far.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().trim().split('\n')) {
      const command = JSON.parse(line) as Command;
      send(event);
      const said = command.execute === 'qmp_capabilities' ? { return: {} } : answer(command);
      if (said === undefined) far.destroy();
      else send({ ...said, id: command.id });
    }
  });
  send(greeting);
  return near;
}

describe('a QMP session', () => {
  test('understands answers however the stream cuts them, between events', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), async (text, pieceBytes) => {
        using qmp = await Qmp.open(
          fakeQemu(() => ({ return: { text } }), pieceBytes),
          new AbortController().signal,
        );
        expect(await qmp.execute('query-name')).toEqual({ text });
      }),
      { numRuns: 200 },
    );
  });

  test('gives each of several commands under way its own answer', async () => {
    using qmp = await Qmp.open(
      fakeQemu(({ execute }) => ({ return: execute })),
      new AbortController().signal,
    );
    expect(await Promise.all(['one', 'two', 'three'].map((command) => qmp.execute(command)))).toEqual([
      'one',
      'two',
      'three',
    ]);
  });

  test('says in QEMU’s words why a command was refused', async () => {
    const refusing = fakeQemu(() => ({
      error: { class: 'GenericError', desc: 'Resetting the Virtual Machine is required' },
    }));
    using qmp = await Qmp.open(refusing, new AbortController().signal);
    await expect(qmp.execute('cont')).rejects.toMatchObject({
      code: 'hypervisor-failed',
      message: expect.stringContaining('Resetting the Virtual Machine is required'),
    });
  });

  test('fails what is under way, and all that comes, when QEMU goes away', async () => {
    using qmp = await Qmp.open(
      fakeQemu(() => undefined),
      new AbortController().signal,
    );
    await expect(qmp.execute('quit')).rejects.toHaveProperty('code', 'connection-lost');
    await expect(qmp.execute('query-status')).rejects.toHaveProperty('code', 'connection-lost');
  });

  test('is not opened with a peer that greets in another language', async () => {
    const peer = new PassThrough();
    const opening = Qmp.open(peer, new AbortController().signal);
    peer.write('SSH-2.0-OpenSSH_9.2\r\n');
    await expect(opening).rejects.toHaveProperty('code', 'connection-lost');
  });

  test('is given up with its signal while QEMU does not greet', async () => {
    const controller = new AbortController();
    const opening = Qmp.open(new PassThrough(), controller.signal);
    controller.abort(new Error('enough'));
    await expect(opening).rejects.toThrow('enough');
  });
});
