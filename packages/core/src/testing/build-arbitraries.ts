import type FastCheck from 'fast-check';
import type { Architecture } from '../model/architecture.ts';
import type { BuildConfig, BuildRequest, OutputDeclaration } from '../model/build.ts';
import type { PipelineRequest } from '../model/pipeline.ts';

type Arbitrary<T> = FastCheck.Arbitrary<T>;

interface BuildArbitraries {
  readonly buildConfig: Arbitrary<BuildConfig>;
  readonly buildRequest: Arbitrary<BuildRequest>;
  readonly pipelineRequest: Arbitrary<PipelineRequest>;
}

/** What is built, and how. */
export function buildArbitraries(fc: typeof FastCheck, architecture: Arbitrary<Architecture>): BuildArbitraries {
  const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/);
  const recipe = {
    extraMakeArgs: fc.array(
      word.map((name) => `${name.toUpperCase()}=1`),
      { maxLength: 3 },
    ),
    customEnv: fc.dictionary(fc.stringMatching(/^[A-Z][A-Z0-9_]{0,9}$/), fc.string(), { maxKeys: 3 }).map(withoutNul),
  };
  const outputs = fc.uniqueArray(
    fc.record(
      {
        type: fc.constantFrom('kernel_image', 'rootfs', 'device_tree', 'other'),
        path: fc.array(word, { minLength: 1, maxLength: 3 }).map((parts) => `${parts.join('/')}.bin`),
        required: fc.boolean(),
      },
      { requiredKeys: ['type', 'path'] },
    ),
    { minLength: 1, maxLength: 4, selector: ({ path }) => path },
  ) satisfies Arbitrary<OutputDeclaration[]>;
  const buildConfig: Arbitrary<BuildConfig> = fc.oneof(
    fc.record(
      {
        recipe: fc.constant('kernel' as const),
        kernelConfig: fc.constantFrom('defconfig', 'tinyconfig', 'multi_v7_defconfig'),
        configFragment: fc.array(word.map((name) => `CONFIG_${name.toUpperCase()}=y\n`)).map((lines) => lines.join('')),
        enableModules: fc.boolean(),
        buildDtbs: fc.boolean(),
        ...recipe,
      },
      { requiredKeys: ['recipe'] },
    ),
    fc.record(
      {
        recipe: fc.constant('make' as const),
        outputs,
        targets: fc.array(word, { maxLength: 3 }),
        directory: word,
        ...recipe,
      },
      { requiredKeys: ['recipe', 'outputs'] },
    ),
    fc.record(
      { recipe: fc.constant('script' as const), outputs, script: word.map((name) => `./${name}.sh\n`), ...recipe },
      { requiredKeys: ['recipe', 'outputs', 'script'] },
    ),
  );
  const source = {
    sourceRepository: fc.constantFrom('https://git.example/linux.git', 'ssh://git@git.example/bsp.git', '/srv/bsp'),
    targetArchitecture: architecture,
    buildConfig,
    branch: fc.constantFrom('main', 'next', 'v6.1'),
    priority: fc.integer({ min: -10, max: 10 }),
  };
  const needed = ['sourceRepository', 'targetArchitecture', 'buildConfig'] as const;
  const buildRequest = fc.record(source, { requiredKeys: [...needed] });
  const pipelineRequest = fc.record(
    {
      ...source,
      name: fc.string({ maxLength: 40 }),
      environmentType: fc.constant('qemu' as const),
      environmentConfig: fc.record({
        vm: fc.record({ cpus: fc.integer({ min: 1, max: 4 }), memoryMb: fc.integer({ min: 64, max: 1024 }) }),
      }),
      tests: fc.record({ from: fc.constant('console' as const) }),
    },
    { requiredKeys: [...needed, 'environmentType', 'tests'] },
  );
  return { buildConfig, buildRequest, pipelineRequest };
}

/** No variable of a process can hold a NUL. */
function withoutNul(env: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.replaceAll('\0', '')]));
}
