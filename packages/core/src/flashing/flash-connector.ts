import type { FlashConnector, FlashStation, FlashTarget } from '../contracts/flash.ts';
import type { CallOptions } from '../contracts/runtime.ts';

/** A station that is reached before it is given to anybody. */
interface ReachedStation extends FlashStation {
  reach(call: CallOptions): Promise<unknown>;
}

/** A connector whose stations are reached when they are opened, and which disposes of those that are left. */
export function flashConnector(
  name: string,
  make: (target: FlashTarget, gone: () => void) => ReachedStation,
): FlashConnector {
  const stations = new Set<ReachedStation>();
  let disposed = false;
  return {
    name,
    async open(target, call = {}) {
      if (disposed) throw new TypeError('this flash connector has been disposed');
      const station = make(target, () => stations.delete(station));
      stations.add(station);
      try {
        await station.reach(call);
      } catch (error) {
        await station[Symbol.asyncDispose]();
        throw error;
      }
      return station;
    },
    async [Symbol.asyncDispose]() {
      disposed = true;
      await Promise.all([...stations].map((station) => station[Symbol.asyncDispose]()));
    },
  };
}
