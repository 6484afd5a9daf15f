import type { Duplex } from 'node:stream';
import type { ShellSession } from '../contracts/shell.ts';
import {
  type ShellHarness,
  bytesSource,
  collect,
  failure,
  missing,
  noise,
  readAtLeast,
  sha256,
} from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

/** What connecting, forwarding, disposing and losing the connection promise. */
export function lifetimeContract(harness: ShellHarness): void {
  forwardContract(harness);
  disposalContract(harness);
  lostConnectionContract(harness);
}

function forwardContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;

  describe('forward', () => {
    harness.needing('echo-server')('carries bytes both ways and the end of each', async () => {
      const { echoServer } = harness.fixture;
      if (echoServer === undefined) throw missing('echoServer');
      const session = await harness.session();
      const stream = await session.forward(echoServer);
      const bytes = noise(1024 * 1024 + 5);
      stream.end(bytes);
      expect(sha256(await collect(stream))).toBe(sha256(bytes));
    });

    harness.needing('echo-server')('carries several streams at a time', async () => {
      const { echoServer } = harness.fixture;
      if (echoServer === undefined) throw missing('echoServer');
      const session = await harness.session();
      const echoes = await Promise.all(
        ['one', 'two', 'three', 'four'].map(async (text) => {
          const stream = await session.forward(echoServer);
          stream.end(text);
          return (await collect(stream)).toString();
        }),
      );
      expect(echoes).toEqual(['one', 'two', 'three', 'four']);
    });

    it('fails when nothing listens there', async () => {
      const session = await harness.session();
      await failure(session.forward({ socketPath: harness.path('no-socket') }), 'connection-failed');
    });

    it('does not connect when aborted before', async () => {
      const session = await harness.session();
      const target = { socketPath: harness.path('no-socket') };
      await failure(session.forward(target, { signal: AbortSignal.abort() }), 'aborted');
    });

    harness.needing('echo-server')('ends its streams with the session', async () => {
      const { echoServer } = harness.fixture;
      if (echoServer === undefined) throw missing('echoServer');
      const session = await harness.session();
      const stream = await session.forward(echoServer);
      const closed = closeOf(stream);
      await session[Symbol.asyncDispose]();
      await closed;
    });
  });
}

function disposalContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;

  describe('disposal', () => {
    it('of a session settles closed without a reason, any number of times', async () => {
      const session = await harness.session();
      await Promise.all([session[Symbol.asyncDispose](), session[Symbol.asyncDispose]()]);
      await session[Symbol.asyncDispose]();
      expect(await session.closed).toBe(undefined);
    });

    it('of a session makes its use a TypeError', async () => {
      const session = await harness.session();
      await session[Symbol.asyncDispose]();
      for (const use of usesOf(session, harness.path())) await expect(use()).rejects.toThrow(TypeError);
    });

    it('of a session ends what it started and nothing hangs', async () => {
      const session = await harness.session();
      const sleeper = await session.spawn(['sleep', '300']);
      const exited = sleeper.exited.catch(() => 'lost');
      const running = failure(session.exec(['sleep', '300']), 'aborted', 'connection-lost');
      await session[Symbol.asyncDispose]();
      await running;
      await exited;
    });

    it('of one session leaves the others', async () => {
      const [one, two] = [await harness.session(), await harness.session()];
      const cat = await two.spawn(['cat']);
      await one[Symbol.asyncDispose]();
      await cat.write(Buffer.from('alive'));
      await cat.end();
      expect((await collect(cat.stdout)).toString()).toBe('alive');
    });

    it('of the connector ends its sessions and makes connecting a TypeError', async () => {
      const fixture = await harness.separateFixture();
      try {
        const session = await fixture.connector.connect(fixture.target);
        const running = failure(session.exec(['sleep', '300']), 'aborted', 'connection-lost');
        await Promise.all([fixture.connector[Symbol.asyncDispose](), fixture.connector[Symbol.asyncDispose]()]);
        await running;
        await session.closed;
        await expect(async () => fixture.connector.connect(fixture.target)).rejects.toThrow(TypeError);
      } finally {
        await fixture.dispose();
      }
    }, 60_000);

    it('is not needed for a connect that was aborted before', async () => {
      const { connector, target } = harness.fixture;
      await failure(connector.connect(target, { signal: AbortSignal.abort() }), 'aborted');
    });
  });
}

function lostConnectionContract(harness: ShellHarness): void {
  if (harness.lacks('drop-connection')) return;
  const { describe, expect, it } = testFramework().vitest;

  describe('a lost connection', () => {
    it('rejects every call under way with connection-lost', async () => {
      const { dropConnection, echoServer } = harness.fixture;
      if (dropConnection === undefined) throw missing('dropConnection');
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(32 * 1024 * 1024)), path);
      const download = session.download(path)[Symbol.asyncIterator]();
      await download.next();
      const cat = await session.spawn(['cat']);
      const output = cat.stdout[Symbol.asyncIterator]();
      await cat.write(Buffer.from('x'));
      await readAtLeast(output, 1);
      const stream = echoServer === undefined ? undefined : await session.forward(echoServer);
      const streamClosed = stream === undefined ? undefined : closeOf(stream);
      const started = Promise.withResolvers<void>();
      const upload = session.upload(endlessSource(started.resolve), harness.path());
      const pending = [
        failure(session.exec(['sleep', '300']), 'connection-lost'),
        failure(cat.exited, 'connection-lost'),
        failure(output.next(), 'connection-lost'),
        failure(upload, 'connection-lost'),
      ];
      await started.promise;
      await dropConnection();
      await Promise.all(pending);
      await failure(drain(download), 'connection-lost');
      await streamClosed;
      expect(await session.closed).toBeInstanceOf(Error);
    });

    it('rejects later calls on the session, which can still be disposed', async () => {
      const { dropConnection } = harness.fixture;
      if (dropConnection === undefined) throw missing('dropConnection');
      const session = await harness.session();
      await session.exec(['true']);
      await dropConnection();
      await session.closed;
      for (const use of usesOf(session, harness.path())) await failure(use, 'connection-lost');
      await session[Symbol.asyncDispose]();
      expect(await session.closed).toBeInstanceOf(Error);
    });

    it('is replaced by connecting again', async () => {
      const { dropConnection } = harness.fixture;
      if (dropConnection === undefined) throw missing('dropConnection');
      const session = await harness.session();
      await dropConnection();
      await session.closed;
      const again = await harness.session();
      expect((await again.exec(['printf', 'back'])).stdout.toString()).toBe('back');
    });
  });
}

function usesOf(session: ShellSession, path: string): readonly (() => Promise<unknown>)[] {
  return [
    async () => session.exec(['true']),
    async () => session.spawn(['true']),
    async () => session.upload(bytesSource(Buffer.from('x')), path),
    async () => collect(session.download(path)),
    async () => session.forward({ socketPath: path }),
  ];
}

/** Resolves when a stream has closed, with or without an error. */
function closeOf(stream: Duplex): Promise<void> {
  stream.on('error', () => {});
  return new Promise((resolve) => stream.once('close', () => resolve()));
}

async function drain(iterator: AsyncIterator<Uint8Array>): Promise<void> {
  for (;;) if ((await iterator.next()).done === true) return;
}

/** Yields small pieces for as long as it is asked to. */
function endlessSource(onStarted: () => void): { readonly sizeBytes: number; read(): AsyncIterable<Uint8Array> } {
  return {
    sizeBytes: Number.MAX_SAFE_INTEGER,
    async *read(): AsyncIterable<Uint8Array> {
      for (const piece = noise(1_000); ;) {
        yield piece;
        onStarted();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}
