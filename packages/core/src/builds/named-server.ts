import { BringupError } from '../errors.ts';
import type { BuildRequest } from '../model/build.ts';
import type { BuildServer } from '../model/resource.ts';
import { toolchainTrait } from '../pool/kinds/build-server.ts';
import { limits } from '../limits.ts';
import type { Store } from '../store/store.ts';

/**
 * Whether a server that was named for a build can ever do it. That it is busy or in maintenance just
 * now is no objection: the build waits for it.
 * @throws `toolchain-missing`, naming what is installed there and which servers have what is missing;
 * `insufficient-resources`.
 */
export async function checkNamedServer(store: Store, server: BuildServer, request: BuildRequest): Promise<void> {
  const { targetArchitecture: architecture, requiredToolchain } = request;
  const fits = server.toolchains.some(
    ({ name, targetArchitecture }) => targetArchitecture === architecture && (requiredToolchain ?? name) === name,
  );
  if (!fits || !server.supportedArchitectures.includes(architecture)) {
    throw await missing(store, server, request);
  }
  const short = [
    ['minCpuCores', request.minCpuCores ?? limits.buildMinCpuCores, server.totalCpuCores],
    ['minMemoryMb', request.minMemoryMb ?? limits.buildMinMemoryMb, server.totalMemoryMb],
    ['minStorageGb', request.minStorageGb ?? limits.buildMinStorageGb, server.totalStorageGb],
  ] as const;
  const unmet = short.filter(([, wanted, total]) => total < wanted);
  if (unmet.length === 0) return;
  const told = unmet.map(([name, wanted, total]) => `${name} is ${wanted}, it has ${total}`).join('; ');
  throw new BringupError(
    'insufficient-resources',
    `build server ${server.hostname} is too small for the build: ${told}; lower what the build asks for or leave out serverId`,
    {
      details: {
        serverId: server.id,
        unmet: unmet.map(([requirement, wanted, best]) => ({ requirement, wanted, best })),
      },
    },
  );
}

async function missing(store: Store, server: BuildServer, request: BuildRequest): Promise<BringupError> {
  const { targetArchitecture: architecture, requiredToolchain } = request;
  const names = requiredToolchain === undefined ? ['gcc', 'clang'] : [requiredToolchain];
  const alternatives = await store.db
    .selectFrom('resources')
    .innerJoin('traits', 'traits.resource_id', 'resources.id')
    .innerJoin('architecture_sets', 'architecture_sets.architectures', 'resources.architectures')
    .select(['resources.id', 'resources.name'])
    .distinct()
    .where('resources.kind', '=', 'build_server')
    .where('architecture_sets.architecture', '=', architecture)
    .where(
      'traits.trait',
      'in',
      names.map((name) => toolchainTrait(name, architecture)),
    )
    .orderBy('resources.name')
    .limit(limits.errorLines)
    .execute();
  const installed = server.toolchains.map((t) => `${t.name} ${t.version} for ${t.targetArchitecture}`);
  const elsewhere = alternatives.map(({ name }) => name).join(', ');
  return new BringupError(
    'toolchain-missing',
    `build server ${server.hostname} has no ${requiredToolchain ?? 'compiler'} for ${architecture}; ` +
      `it has ${installed.join(', ') || 'none'}. ` +
      (elsewhere === ''
        ? `No server has one; install it on one and register it again.`
        : `These have it: ${elsewhere}.`),
    {
      details: {
        serverId: server.id,
        architecture,
        ...(requiredToolchain !== undefined && { toolchain: requiredToolchain }),
        installed,
        alternatives: alternatives.map(({ id, name }) => ({ id, name })),
      },
    },
  );
}
