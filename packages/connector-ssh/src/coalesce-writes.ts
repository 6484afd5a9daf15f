import type { Duplex } from 'node:stream';

/**
 * Makes a connected socket, or a stream in its place, send what is written in one turn of the event loop as one piece. ssh2
 * writes each packet in three parts (length, body, tag), which without Nagle's delay would be three
 * system calls and three segments.
 *
 * The method is replaced on the object, since `connect` undoes an overriding one of a subclass.
 */
export function coalesceWrites(socket: Duplex): void {
  const write = socket.write.bind(socket) as (...args: readonly unknown[]) => boolean;
  let corked = false;
  const uncork = (): void => {
    corked = false;
    socket.uncork();
  };
  socket.write = (...args: readonly unknown[]): boolean => {
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(uncork);
    }
    return write(...args);
  };
}
