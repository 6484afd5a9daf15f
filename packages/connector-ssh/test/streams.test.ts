import { limits } from '@bringup/core';
import { describe, expect, it } from 'vitest';
import { ByteQueue } from '../src/byte-queue.ts';
import { PidFilter } from '../src/pid-filter.ts';
import { collectText } from '../src/transfer.ts';

const bytes = (length: number): Uint8Array => new Uint8Array(length);

describe('output on its way to its reader', () => {
  it('holds the target back while the reader is slow, and lets it go on when there is room', async () => {
    const said: string[] = [];
    const queue = new ByteQueue({
      capacityBytes: 100,
      onFull: () => said.push('full'),
      onRoom: () => said.push('room'),
    });
    queue.push(bytes(60));
    queue.push(bytes(60));
    expect(said).toEqual(['full']);
    const reader = queue[Symbol.asyncIterator]();
    await reader.next();
    expect(said).toEqual(['full', 'room']);
  });

  it('comes in fewer and larger pieces to a slow reader, none of them without bound', async () => {
    const queue = new ByteQueue({ capacityBytes: 10_000_000 });
    for (let value = 0; value < 100; value += 1) queue.push(bytes(32 * 1024).fill(value));
    queue.end();
    const pieces: Uint8Array[] = [];
    for await (const piece of queue) pieces.push(piece);
    expect(pieces.length).toBe(13);
    expect(Math.max(...pieces.map((piece) => piece.byteLength))).toBe(256 * 1024);
    expect(Buffer.concat(pieces).filter((_, index) => index % (32 * 1024) === 0)).toEqual(
      Buffer.from(Array.from({ length: 100 }, (_, value) => value)),
    );
  });

  it('drops the oldest bytes where nothing may be held back', async () => {
    const queue = new ByteQueue({ capacityBytes: 100 });
    for (const value of [1, 2, 3]) queue.push(bytes(60).fill(value));
    queue.end();
    const kept: (number | undefined)[] = [];
    for await (const chunk of queue) kept.push(chunk[0]);
    expect(kept).toEqual([3]);
  });

  it('gives what came before the connection was lost, then the loss', async () => {
    const queue = new ByteQueue({ capacityBytes: 100 });
    queue.push(bytes(5));
    queue.end(new Error('lost'));
    const reader = queue[Symbol.asyncIterator]();
    expect((await reader.next()).value?.byteLength).toBe(5);
    await expect(reader.next()).rejects.toThrow('lost');
  });

  it('lets the target go on when the reader has left', async () => {
    let room = 0;
    const queue = new ByteQueue({ capacityBytes: 10, onFull: () => undefined, onRoom: () => (room += 1) });
    queue.push(bytes(5));
    queue.push(bytes(500));
    for await (const _chunk of queue) break;
    expect(room).toBe(1);
    queue.push(bytes(500));
    expect(room).toBe(1);
  });
});

describe('the line with the process id', () => {
  const filtered = (...chunks: readonly string[]): { pid: (string | undefined)[]; text: string } => {
    const pid: (string | undefined)[] = [];
    const filter = new PidFilter((found) => pid.push(found));
    const parts = chunks.map((chunk) => filter.push(Buffer.from(chunk)));
    return { pid, text: Buffer.concat([...parts, filter.end()].filter((part) => part !== undefined)).toString() };
  };

  it('is taken out however it is cut', () => {
    const said = 'bringup-pid:4711\nerror: bringup-pid:1\n';
    for (let at = 0; at <= said.length; at += 1) {
      expect(filtered(said.slice(0, at), said.slice(at))).toEqual({ pid: ['4711'], text: 'error: bringup-pid:1\n' });
    }
  });

  it('is found behind what start-up files say', () => {
    expect(filtered('bash: warning\nbringup-pid:7\nmine')).toEqual({ pid: ['7'], text: 'mine' });
  });

  it('is not missed for ever: a stream without it is passed on whole', () => {
    expect(filtered('This account is not available.\n')).toEqual({
      pid: [undefined],
      text: 'This account is not available.\n',
    });
    const flood = 'x'.repeat(70_000);
    expect(filtered(flood, 'more')).toEqual({ pid: [undefined], text: `${flood}more` });
  });
});

describe('what a target says beside the bytes of a transfer', () => {
  it('limits.transferWordsBytes: is kept up to that, the last of it, in whatever pieces it comes', async () => {
    const kept = async (bytes: number, piece: number): Promise<string> => {
      const all = Buffer.from(`first${'x'.repeat(bytes - 9)}last`);
      return collectText(
        (async function* () {
          for (let at = 0; at < bytes; at += piece) yield all.subarray(at, at + piece);
        })(),
      );
    };
    const most = limits.transferWordsBytes;
    for (const piece of [1_000, 10 * most]) {
      expect(await kept(most, piece)).toMatch(/^firstx+last$/);
      const cut = await kept(most + 1, piece);
      expect(cut).toMatch(/^(?:irst)?x+last$/);
      expect(cut.length).toBeLessThanOrEqual(most);
    }
  });
});
