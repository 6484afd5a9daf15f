import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { shellContract } from '@bringup/core/testing';
import { startSshd } from '../../../../test/fixtures/sshd.ts';
import { ssh } from '../../src/index.ts';

shellContract({
  name: 'ssh',
  async setup() {
    const sshd = await startSshd();
    const connector = ssh({ knownHosts: [sshd.knownHosts] });
    const scratchDir = await realpath(await mkdtemp(join(tmpdir(), 'bringup-scratch-')));
    await mkdir(scratchDir, { recursive: true });
    const echo = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => undefined).pipe(socket));
    const socketPath = join(sshd.dir, 'echo.sock');
    echo.listen(socketPath);
    await once(echo, 'listening');
    return {
      connector,
      target: sshd.target,
      scratchDir,
      echoServer: { socketPath },
      dropConnection: sshd.dropConnections,
      async dispose() {
        await connector[Symbol.asyncDispose]();
        echo.close();
        await sshd[Symbol.asyncDispose]();
        await rm(scratchDir, { recursive: true, force: true });
      },
    };
  },
});
