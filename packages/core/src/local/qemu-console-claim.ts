import { createServer, type Server } from 'node:net';
import { BringupError } from '../errors.ts';

/**
 * Claims the console of a VM for this process: close the server to give it back. QEMU itself lets
 * several clients connect and serves one. The claim is an abstract unix socket, which the kernel
 * gives to one holder and takes back when its process dies, so it never goes stale.
 * @throws `console-busy`.
 */
export function claimConsole(vmName: string, id: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((stranger) => stranger.destroy());
    server.once('error', (cause) => {
      reject(
        new BringupError('console-busy', `The console of the VM ${vmName} is held by somebody else.`, {
          cause,
          retryable: true,
          details: { name: vmName },
        }),
      );
    });
    // The id is secret to those who may not read the VM's folder, so strangers can't claim it.
    server.listen({ path: `\0bringup-console-${id}`, exclusive: true }, () => resolve(server));
    server.unref();
  });
}
