import type FastCheck from 'fast-check';
import { architectures, type Architecture } from '../model/architecture.ts';
import type { BuildConfig, BuildRequest } from '../model/build.ts';
import type { PipelineRequest } from '../model/pipeline.ts';
import type { BoardRequirements, BuildRequirements, VmRequirements } from '../model/requirements.ts';
import type { BoardRegistration, BuildServerRegistration, HostRegistration } from '../model/resource.ts';
import type { TestReport } from '../testruns/test-report.ts';
import { buildArbitraries } from './build-arbitraries.ts';
import type { MemoryBoardOptions, MemoryHostOptions, MemoryServerOptions } from './memory-lab.ts';
import { testReportArbitrary } from './test-report-arbitrary.ts';

type FC = typeof FastCheck;
type Arbitrary<T> = FastCheck.Arbitrary<T>;

/**
 * What property tests of a lab are about, each valid as it is. Values of labels, board types,
 * peripherals and compilers come from small sets, so that what is asked for is often there.
 */
export interface LabArbitraries {
  /** Any architecture. */
  readonly architecture: Arbitrary<Architecture>;
  /** Up to two labels. */
  readonly labels: Arbitrary<Record<string, string>>;
  /** A build server and a machine that is what the registration says, for `memoryLab().addServer`. */
  readonly server: Arbitrary<BuildServerRegistration & MemoryServerOptions>;
  /** A host, its machine and its hypervisor, for `memoryLab().addHost`. */
  readonly host: Arbitrary<HostRegistration & MemoryHostOptions>;
  /** A board and its machine, for `memoryLab().addBoard`, which attaches the rest. */
  readonly board: Arbitrary<BoardRegistration & MemoryBoardOptions>;
  /** What a build may need of a server; the server may not be there. */
  readonly buildRequirements: Arbitrary<BuildRequirements>;
  /** What a VM may need of a host. */
  readonly vmRequirements: Arbitrary<VmRequirements>;
  /** What a job may need of a board. */
  readonly boardRequirements: Arbitrary<BoardRequirements>;
  /** Every recipe. */
  readonly buildConfig: Arbitrary<BuildConfig>;
  /** A build from a repository that a memory lab can be given, see `repositories` there. */
  readonly buildRequest: Arbitrary<BuildRequest>;
  /** The same for a pipeline. */
  readonly pipelineRequest: Arbitrary<PipelineRequest>;
  /** Results: groups within groups, every outcome, numbered as `parseTap` numbers them. */
  readonly testReport: Arbitrary<TestReport>;
}

/**
 * Generators for property tests, made with the fast-check that the test uses.
 *
 * @example
 * ```ts
 * import fc from 'fast-check';
 * const { server } = labArbitraries(fc);
 * await fc.assert(fc.asyncProperty(server, async (options) => {
 *   await using lab = await memoryLab();
 *   expect((await lab.addServer(options)).status).toBe('online');
 * }));
 * ```
 */
export function labArbitraries(fc: FC): LabArbitraries {
  const architecture = fc.constantFrom(...architectures);
  const labels = fc.dictionary(fc.constantFrom('rack', 'team'), fc.constantFrom('a', 'b'), { maxKeys: 2 });
  const shared = { architecture, labels };
  const build = buildArbitraries(fc, architecture);
  return {
    ...shared,
    ...resourceArbitraries(fc, shared),
    ...requirementArbitraries(fc, shared),
    ...build,
    testReport: testReportArbitrary(fc),
  };
}

type Shared = Pick<LabArbitraries, 'architecture' | 'labels'>;

const boardTypes = ['rpi4', 'beagle'] as const;
const peripherals = ['can', 'wifi', 'camera'] as const;

function resourceArbitraries(
  fc: FC,
  { architecture, labels }: Shared,
): Pick<LabArbitraries, 'server' | 'host' | 'board'> {
  const hostname = fc.stringMatching(/^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$/);
  const workspace = fc.stringMatching(/^\/[a-z]{1,8}(\/[a-z0-9]{1,8}){0,2}$/);
  const connection = {
    ipAddress: fc.oneof(fc.ipV4(), fc.ipV6()),
    sshPort: fc.integer({ min: 1, max: 65_535 }),
    sshUsername: fc.stringMatching(/^[a-z][a-z0-9]{0,7}$/),
    labels,
  };
  const sizes = {
    architecture,
    cpuCores: fc.integer({ min: 1, max: 256 }),
    memoryMb: fc.integer({ min: 512, max: 1 << 20 }),
    storageGb: fc.integer({ min: 10, max: 10_000 }),
  };
  const version = fc.tuple(fc.nat(20), fc.nat(9), fc.nat(9)).map((parts) => parts.join('.'));
  const toolchains = fc.uniqueArray(fc.record({ targetArchitecture: architecture, version }), {
    minLength: 1,
    selector: ({ targetArchitecture }) => targetArchitecture,
  });
  const server = fc
    .record(
      {
        hostname,
        machine: fc.record({ ...sizes, toolchains }),
        workspace,
        maxConcurrentBuilds: fc.integer({ min: 1, max: 32 }),
        ...connection,
      },
      { requiredKeys: ['hostname', 'machine'] },
    )
    .chain((one) => {
      const found = one.machine.toolchains.map(({ targetArchitecture }) => targetArchitecture);
      return fc
        .option(fc.subarray(found, { minLength: 1 }), { nil: undefined })
        .map((supportedArchitectures) => ({
          ...one,
          ...(supportedArchitectures !== undefined && { supportedArchitectures }),
        }));
    });
  const host = fc.record(
    {
      hostname,
      machine: fc.record(sizes),
      capabilities: fc.record({
        architectures: fc.uniqueArray(architecture, { minLength: 1 }),
        kvm: fc.boolean(),
        nestedVirt: fc.boolean(),
      }),
      workspace,
      maxVms: fc.integer({ min: 1, max: 64 }),
      ...connection,
    },
    { requiredKeys: ['hostname', 'machine', 'capabilities'] },
  );
  const board = fc.record(
    {
      name: hostname,
      machine: fc.record(sizes),
      boardType: fc.constantFrom(...boardTypes),
      serialNumber: fc.stringMatching(/^[0-9A-F]{4,12}$/),
      peripherals: fc.subarray([...peripherals]),
      ...connection,
    },
    { requiredKeys: ['name', 'machine', 'boardType'] },
  );
  return { server, host, board };
}

function requirementArbitraries(
  fc: FC,
  { architecture, labels: requiredLabels }: Shared,
): Pick<LabArbitraries, 'buildRequirements' | 'vmRequirements' | 'boardRequirements'> {
  const minCpuCores = fc.integer({ min: 1, max: 16 });
  const buildRequirements = fc.record(
    {
      targetArchitecture: architecture,
      requiredToolchain: fc.constantFrom('gcc', 'clang'),
      requiredLabels,
      minCpuCores,
      minMemoryMb: fc.integer({ min: 0, max: 8192 }),
      minStorageGb: fc.integer({ min: 0, max: 100 }),
    },
    { requiredKeys: ['targetArchitecture'] },
  );
  const vmRequirements = fc.record(
    {
      architecture,
      minCpuCores,
      minMemoryMb: fc.integer({ min: 1, max: 16_384 }),
      minStorageGb: fc.integer({ min: 0, max: 100 }),
      requireKvm: fc.boolean(),
      requireNestedVirt: fc.boolean(),
      requiredLabels,
    },
    { requiredKeys: ['architecture'] },
  );
  const boardRequirements = fc.record(
    {
      architecture,
      boardTypes: fc.subarray([...boardTypes]),
      requiredPeripherals: fc.subarray([...peripherals]),
      requiredLabels,
    },
    { requiredKeys: ['architecture'] },
  );
  return { buildRequirements, vmRequirements, boardRequirements };
}
