import { artifactStorageContract } from '../../src/testing/artifact-storage-contract.ts';
import { memoryArtifactStorage } from '../../src/testing/memory-artifact-storage.ts';

artifactStorageContract({
  name: 'memory',
  setup: async () => {
    const storage = memoryArtifactStorage({ capacityBytes: 16 * 1024 * 1024 });
    return {
      storage,
      corrupt: (sha256) => storage.corrupt(sha256),
      tooManyBytes: 17 * 1024 * 1024,
      dispose: async () => await storage[Symbol.asyncDispose](),
    };
  },
});
