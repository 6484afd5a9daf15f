import { once } from 'node:events';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localShell } from '@bringup/core';
import { shellContract } from '@bringup/core/testing';

shellContract({
  name: 'local',
  async setup() {
    const scratchDir = await realpath(await mkdtemp(join(tmpdir(), 'bringup-shell-')));
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    await once(echo.listen(`${scratchDir}/echo.sock`), 'listening');
    const connector = localShell();
    return {
      connector,
      target: { hostname: 'localhost', username: 'me' },
      scratchDir,
      hasPosixSh: true,
      echoServer: { socketPath: `${scratchDir}/echo.sock` },
      async dispose() {
        await connector[Symbol.asyncDispose]();
        echo.close();
        await rm(scratchDir, { recursive: true });
      },
    };
  },
});
