import { memoryShell, shellContract } from '@bringup/core/testing';

shellContract({
  name: 'memory',
  lacks: ['posix-sh'],
  async setup() {
    const connector = memoryShell();
    const host = connector.host('board1');
    host.fs.makeFolder('/scratch');
    host.listen({ socketPath: '/run/echo.sock' }, (stream) => stream.pipe(stream));
    return {
      connector,
      target: { hostname: 'board1', username: 'me' },
      scratchDir: '/scratch',
      echoServer: { socketPath: '/run/echo.sock' },
      dropConnection: () => host.dropConnections(),
      dispose: () => connector[Symbol.asyncDispose](),
    };
  },
});
