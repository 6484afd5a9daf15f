// Packs the packages as they would be published, judges the tarballs, installs them into an empty
// project with npm, and typechecks and runs the README's example there.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Steps, run } from './steps.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = (name: string): string => join(root, 'node_modules/.bin', name);

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

interface PackedPackage {
  readonly tarball: string;
  /** The packed package.json. */
  readonly manifest: Manifest;
  /** The unpacked tarball. */
  readonly folder: string;
}

const steps = new Steps();
const work = await mkdtemp(join(tmpdir(), 'bringup-packaging-'));
try {
  const built = await steps.run('the packages build', async () => {
    await run(['pnpm', '-r', '--filter', './packages/*', 'run', 'build'], { cwd: root });
  });
  if (built) await judgeTarballs();
} finally {
  await rm(work, { recursive: true, force: true });
}
steps.finish();

async function judgeTarballs(): Promise<void> {
  const packages: PackedPackage[] = [];
  for (const name of (await readdir(join(root, 'packages'))).toSorted()) {
    if (!existsSync(join(root, 'packages', name, 'package.json'))) continue;
    await steps.run(`${name} packs`, async () => {
      packages.push(await pack(name));
    });
  }
  for (const packed of packages) {
    const { name } = packed.manifest;
    await steps.run(`${name} satisfies publint`, async () => {
      await run([bin('publint'), 'run', '--strict', packed.tarball], { cwd: root });
    });
    await steps.run(`${name} has types that resolve for ES modules`, async () => {
      await run([bin('attw'), packed.tarball, '--profile', 'esm-only', '--no-color'], { cwd: root });
    });
    await steps.run(`${name} ships what it promises and nothing of the checkout`, () => judgeContents(packed));
  }
  await tryInProject(packages);
}

async function pack(name: string): Promise<PackedPackage> {
  const folder = join(work, name);
  await mkdir(folder);
  await run(['pnpm', 'pack', '--pack-destination', folder], { cwd: join(root, 'packages', name) });
  const file = (await readdir(folder)).find((entry) => entry.endsWith('.tgz'));
  if (file === undefined) throw new Error(`pnpm pack made no tarball of ${name}`);
  const tarball = join(folder, file);
  await run(['tar', '-xzf', tarball, '-C', folder], { cwd: folder });
  const manifest = JSON.parse(await readFile(join(folder, 'package/package.json'), 'utf8')) as Manifest;
  return { tarball, manifest, folder: join(folder, 'package') };
}

async function judgeContents({ manifest, folder }: PackedPackage): Promise<void> {
  const text = JSON.stringify(manifest);
  for (const word of ['workspace:', 'bringup-source', './src/']) {
    if (text.includes(word)) throw new Error(`package.json still says "${word}"`);
  }
  for (const conditions of Object.values(manifest.exports)) {
    for (const file of Object.values(conditions)) {
      if (!existsSync(join(folder, file))) throw new Error(`${file} is exported and not packed`);
    }
  }
  const declarations = await readFile(join(folder, 'dist/index.d.ts'), 'utf8');
  if (manifest.name !== '@bringup/core' && /class BringupError|interface ShellSession\b/.test(declarations)) {
    throw new Error("dist/index.d.ts holds a copy of core's types instead of importing them");
  }
}

async function tryInProject(packages: readonly PackedPackage[]): Promise<void> {
  const project = join(work, 'project');
  await mkdir(project);
  const installed = await steps.run('the tarballs install into an empty project with npm', () =>
    install(project, packages),
  );
  if (!installed) return;
  const entries = packages.flatMap(({ manifest }) =>
    Object.keys(manifest.exports)
      .filter((entry) => entry !== './package.json')
      .map((entry) => manifest.name + entry.slice(1)),
  );
  await steps.run('every entry loads in Node', async () => {
    const script = `for (const entry of ${JSON.stringify(entries)}) await import(entry);`;
    await run([process.execPath, '--input-type=module', '-e', script], { cwd: project });
  });
  await steps.run('every declaration typechecks, those of our dependencies included', async () => {
    await writeFile(
      join(project, 'entries.ts'),
      entries.map((entry, at) => `export * as e${at} from '${entry}';\n`).join(''),
    );
    await typecheck(project);
  });
  const typechecked = await steps.run("the README's example typechecks", async () => {
    await writeFile(join(project, 'example.ts'), await readmeExample());
    await typecheck(project);
  });
  if (!typechecked) return;
  await steps.run("the README's example runs", async () => {
    await makeRepository(join(project, 'bsp'));
    await run([process.execPath, 'example.ts'], { cwd: project });
  });
}

async function typecheck(project: string): Promise<void> {
  await run([join(project, 'node_modules/.bin/tsc'), '-p', 'tsconfig.json'], { cwd: project });
}

async function install(project: string, packages: readonly PackedPackage[]): Promise<void> {
  const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  await writeFile(join(project, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }\n');
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2023',
        lib: ['es2024', 'esnext.disposable'],
        types: ['node'],
        module: 'nodenext',
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true,
        allowImportingTsExtensions: true,
      },
      include: ['*.ts'],
    }),
  );
  // fast-check is an optional peer, which the types of core's testing subpath speak of.
  const typescript = ['typescript', '@types/node', 'fast-check'].map((name) => `${name}@${devDependencies[name]}`);
  const tarballs = packages.map(({ tarball }) => `file:${tarball}`);
  // Peers that are optional are for those who want them; an empty project has none of them.
  const options = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', '--loglevel=error'];
  await run(['npm', 'install', ...options, ...typescript, ...tarballs], { cwd: project });
}

/** The first TypeScript block of the README. */
async function readmeExample(): Promise<string> {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const example = /^```ts\n(.*?)^```$/ms.exec(readme)?.[1];
  if (example === undefined) throw new Error('README.md has no ```ts block');
  return example;
}

/** A git repository of the quickstart's BSP: what the README's example builds. */
async function makeRepository(folder: string): Promise<void> {
  await cp(join(root, 'examples/quickstart/bsp'), folder, {
    recursive: true,
    filter: (source) => basename(source) !== 'build',
  });
  const identity = ['-c', 'user.name=example', '-c', 'user.email=example@localhost'];
  await run(['git', 'init', '--quiet', '--initial-branch=main'], { cwd: folder });
  await run(['git', 'add', '.'], { cwd: folder });
  await run(['git', ...identity, 'commit', '--quiet', '--message=BSP'], { cwd: folder });
}
