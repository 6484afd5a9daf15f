import * as v from 'valibot';
import { BringupError } from '../../errors.ts';
import type { Architecture } from '../../model/architecture.ts';
import type {
  BuildServer,
  BuildServerRegistration,
  Connection,
  ServerStatus,
  Toolchain,
} from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import { baseView, type ResourceKindModule } from '../kind.ts';
import { probeFacts, probeToolchains } from '../probe.ts';
import { absolutePathField, architectureField, connectionFields, countField, labelsField } from '../../model/fields.ts';

const registrationSchema: v.GenericSchema<unknown, BuildServerRegistration> = v.strictObject({
  ...connectionFields,
  supportedArchitectures: v.exactOptional(v.array(architectureField)),
  maxConcurrentBuilds: v.exactOptional(countField),
  labels: v.exactOptional(labelsField),
  workspace: v.exactOptional(absolutePathField),
});

interface Profile extends Connection {
  readonly workspace: string;
  readonly toolchains: readonly Toolchain[];
  readonly supportedArchitectures: readonly Architecture[];
}

/** The trait of a server that has this compiler for that architecture. */
export function toolchainTrait(name: string, target: Architecture): string {
  return `toolchain:${name}:${target}`;
}

/** Build servers: one slot a build; compilers decide which architectures they serve. */
export const buildServerKind: ResourceKindModule<BuildServerRegistration, BuildServer, Profile> = {
  kind: 'build_server',
  title: 'build server',
  validate: (input) => validate('the build server', registrationSchema, input),
  nameOf: (registration) => registration.hostname,
  labelsOf: (registration) => registration.labels ?? {},

  async probe(registration, connectors, options) {
    await using session = await connectors.openShell(registration, options);
    const facts = await probeFacts(session, registration.workspace, options);
    const toolchains = await probeToolchains(session, options);
    const found = [...new Set(toolchains.map((toolchain) => toolchain.targetArchitecture))];
    const supported = registration.supportedArchitectures ?? found;
    const missing = supported.filter((architecture) => !found.includes(architecture));
    if (missing.length > 0 || supported.length === 0) {
      const installed = toolchains.map((t) => `${t.name} ${t.version} for ${t.targetArchitecture}`);
      throw new BringupError(
        'toolchain-missing',
        `${registration.hostname} has no compiler for ${missing.join(', ') || 'any known architecture'}; ` +
          `installed: ${installed.join(', ') || 'none'}`,
        { details: { missing, installed } },
      );
    }
    const { labels: _labels, maxConcurrentBuilds, ...connection } = registration;
    return {
      name: registration.hostname,
      profile: {
        ...connection,
        shell: connectors.shellName(registration.shell),
        workspace: facts.workspace,
        toolchains,
        supportedArchitectures: supported,
      },
      capacity: {
        slots: maxConcurrentBuilds ?? 4,
        cpuCores: facts.cpuCores,
        memoryMb: facts.memoryMb,
        storageGb: facts.freeGb,
      },
      architectures: supported,
      traits: toolchains.map((toolchain) => toolchainTrait(toolchain.name, toolchain.targetArchitecture)),
    };
  },

  view(row) {
    const profile = JSON.parse(row.profile) as Profile;
    return {
      ...baseView(row),
      ...profile,
      status: row.maintenance === 1 ? 'maintenance' : (row.status as ServerStatus),
      totalCpuCores: row.cpu_total,
      totalMemoryMb: row.memory_mb_total,
      totalStorageGb: row.storage_gb_total,
      activeBuildCount: row.slots_used,
      maxConcurrentBuilds: row.slots_total,
    };
  },
};
