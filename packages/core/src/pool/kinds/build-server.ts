import * as v from 'valibot';
import type { Selectable } from 'kysely';
import { BringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Architecture } from '../../model/architecture.ts';
import { recipes, type BuildRecipe } from '../../model/build.ts';
import {
  absolutePathField,
  architectureField,
  connectionFields,
  countField,
  labelsField,
  minimumFields,
} from '../../model/fields.ts';
import type {
  BuildServer,
  BuildServerRegistration,
  Connection,
  Toolchain,
  ToolchainClaim,
} from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import type { ResourceRow } from '../../store/schema/pool.ts';
import type { Store } from '../../store/store.ts';
import { machineView, type Current, type Look, type ResourceKindModule } from '../kind.ts';
import { checkMinimum } from '../minimum.ts';
import { probeFacts, probeToolchains, type MachineFacts } from '../probe.ts';

const claimSchema: v.GenericSchema<unknown, ToolchainClaim> = v.strictObject({
  name: v.picklist(['gcc', 'clang'], 'must be gcc or clang'),
  targetArchitecture: architectureField,
  version: v.exactOptional(
    v.pipe(v.string('must be a string'), v.regex(/^\d+(\.\d+)*$/, 'must be a version such as 12 or 12.2.0')),
  ),
});

const registrationSchema: v.GenericSchema<unknown, BuildServerRegistration> = v.strictObject({
  ...connectionFields,
  ...minimumFields,
  toolchains: v.exactOptional(v.array(claimSchema, 'must be a list of toolchains')),
  supportedArchitectures: v.exactOptional(v.array(architectureField)),
  allowedRecipes: v.exactOptional(
    v.pipe(
      v.array(v.picklist(recipes, `must be one of ${recipes.join(', ')}`)),
      v.minLength(1, 'allow at least one recipe'),
    ),
  ),
  maxConcurrentBuilds: v.exactOptional(countField),
  labels: v.exactOptional(labelsField),
  workspace: v.exactOptional(absolutePathField),
});

interface Detected {
  readonly facts: MachineFacts;
  readonly toolchains: readonly Toolchain[];
}

interface Profile extends Connection {
  readonly workspace: string;
  readonly kernelVersion: string;
  readonly toolchains: readonly Toolchain[];
  readonly supportedArchitectures: readonly Architecture[];
  readonly allowedRecipes?: readonly BuildRecipe[];
}

/** The trait of a server that has this compiler for that architecture. */
export function toolchainTrait(name: string, target: Architecture): string {
  return `toolchain:${name}:${target}`;
}

/** The trait of a server that may be asked for this recipe. */
export function recipeTrait(recipe: BuildRecipe): string {
  return `recipe:${recipe}`;
}

/** Build servers: one slot a build; compilers decide which architectures they serve. */
export const buildServerKind: ResourceKindModule<BuildServerRegistration, BuildServer, Detected, Profile> = {
  kind: 'build_server',
  title: 'build server',
  quietFields: ['labels', 'maxConcurrentBuilds', 'allowedRecipes'],
  validate: (input) => validate('the build server', registrationSchema, input),
  nameOf: (registration) => registration.hostname,
  labelsOf: (registration) => registration.labels ?? {},

  async detect(registration, look) {
    const { connectors, signal } = look;
    await using session = await look.patiently(() => connectors.openShell(registration, { signal }));
    const facts = await probeFacts(session, registration.workspace, { signal });
    checkMinimum(registration.hostname, registration, facts);
    const toolchains = await probeToolchains(session, { signal });
    await checkToolchains(registration, toolchains, look);
    return { facts, toolchains };
  },

  describe(registration, { facts, toolchains }, connectors) {
    const supported = registration.supportedArchitectures ?? targetsOf(toolchains);
    const { labels: _labels, toolchains: _claims, maxConcurrentBuilds, ...rest } = registration;
    const { minCpuCores: _cores, minMemoryMb: _memory, minStorageGb: _storage, ...connection } = rest;
    return {
      name: registration.hostname,
      profile: {
        ...connection,
        shell: connectors.shellName(registration.shell),
        workspace: facts.workspace,
        kernelVersion: facts.kernelVersion,
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
      traits: [
        ...toolchains.map((toolchain) => toolchainTrait(toolchain.name, toolchain.targetArchitecture)),
        ...(registration.allowedRecipes ?? recipes).map(recipeTrait),
      ],
    };
  },

  current: queueDepths,

  view(row, current = { queueDepth: 0 }) {
    const profile = JSON.parse(row.profile) as Profile;
    return {
      ...machineView(row),
      ...profile,
      activeBuildCount: row.slots_used,
      maxConcurrentBuilds: row.slots_total,
      ...(current as QueueDepth),
    };
  },
};

interface QueueDepth {
  readonly queueDepth: number;
}

/** Builds that have no place yet count for each server they may go to. */
async function queueDepths(
  db: Pick<Store['db'], 'selectFrom'>,
  rows: readonly Selectable<ResourceRow>[],
): Promise<Current> {
  const waiting = await db
    .selectFrom('work_items')
    .innerJoin('builds', 'builds.id', 'work_items.id')
    .select(({ fn }) => ['builds.architecture', 'builds.wanted_server_id', fn.countAll<number>().as('builds')])
    .where('work_items.kind', '=', 'build')
    .where('work_items.state', 'in', ['queued', 'waiting'])
    // A build that stepped aside for a moment keeps its place.
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(selectFrom('reservations').select('reservations.id').whereRef('reservations.holder', '=', 'builds.id')),
      ),
    )
    .groupBy(['builds.architecture', 'builds.wanted_server_id'])
    .execute();
  const depthOf = (row: Selectable<ResourceRow>): number => {
    const { supportedArchitectures } = JSON.parse(row.profile) as Profile;
    return waiting
      .filter(({ wanted_server_id }) => wanted_server_id === null || wanted_server_id === row.id)
      .filter(({ architecture }) => supportedArchitectures.includes(architecture as Architecture))
      .reduce((sum, { builds }) => sum + Number(builds), 0);
  };
  return new Map(rows.map((row) => [row.id, { queueDepth: depthOf(row) } satisfies QueueDepth]));
}

function targetsOf(toolchains: readonly Toolchain[]): readonly Architecture[] {
  return [...new Set(toolchains.map(({ targetArchitecture }) => targetArchitecture))];
}

/** @throws `toolchain-missing` with what is installed and who else has what is missing. */
async function checkToolchains(
  { hostname, toolchains: claims = [], supportedArchitectures }: BuildServerRegistration,
  toolchains: readonly Toolchain[],
  { othersWith }: Look,
): Promise<void> {
  const found = targetsOf(toolchains);
  const missing = claims.filter((claim) => !toolchains.some((toolchain) => meets(toolchain, claim)));
  const uncompiled = (supportedArchitectures ?? []).filter(
    (architecture) => !found.includes(architecture) && !missing.some((m) => m.targetArchitecture === architecture),
  );
  if (missing.length + uncompiled.length === 0 && found.length > 0) return;
  const lacking = [
    ...missing.map((claim) => ({ ...claim, label: claimLabel(claim) })),
    ...uncompiled.map((architecture) => ({
      name: undefined,
      targetArchitecture: architecture,
      label: `a compiler for ${architecture}`,
    })),
  ];
  const installed = toolchains.map((t) => `${t.name} ${t.version} for ${t.targetArchitecture}`);
  const elsewhere: Record<string, readonly string[]> = {};
  for (const { name, targetArchitecture, label } of lacking) {
    const traits = (name === undefined ? ['gcc', 'clang'] : [name]).map((n) => toolchainTrait(n, targetArchitecture));
    const names = (await Promise.all(traits.map(othersWith))).flat();
    elsewhere[label] = [...new Set(names)].slice(0, limits.errorLines);
  }
  const wanted = lacking.map(({ label }) => label).join(', ') || 'a compiler for any known architecture';
  const hints = Object.entries(elsewhere)
    .filter(([, names]) => names.length > 0)
    .map(([label, names]) => `; ${label} is on ${names.join(', ')}`);
  throw new BringupError(
    'toolchain-missing',
    `${hostname} lacks ${wanted}; installed: ${installed.join(', ') || 'none'}${hints.join('')}`,
    { details: { missing: lacking.map(({ label }) => label), installed, elsewhere } },
  );
}

function claimLabel({ name, version, targetArchitecture }: ToolchainClaim): string {
  return `${name}${version === undefined ? '' : ` ${version}`} for ${targetArchitecture}`;
}

function meets(toolchain: Toolchain, { name, targetArchitecture, version }: ToolchainClaim): boolean {
  return (
    toolchain.name === name &&
    toolchain.targetArchitecture === targetArchitecture &&
    (version === undefined || toolchain.version === version || toolchain.version.startsWith(`${version}.`))
  );
}
