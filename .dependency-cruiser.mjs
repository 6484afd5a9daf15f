// Who may import whom. docs/ARCHITECTURE.md tells the story; this file enforces it.

/** The rooms of packages/core/src from top to bottom: each imports only from those below it. */
const rooms = [
  ['index', 'index\\.ts$'],
  ['create-lab', 'create-lab\\.ts$'],
  ['lab', 'lab\\.ts$'],
  ['upkeep', 'upkeep\\.ts$'],
  ['status', 'status/'],
  ['pipelines', 'pipelines/'],
  ['environments', 'environments/'],
  ['testruns', 'testruns/'],
  ['deployments', 'deployments/'],
  ['builds', 'builds/'],
  ['artifacts', 'artifacts/'],
  ['health', 'health/'],
  ['power', 'power/'],
  ['selection', 'selection/'],
  ['pool', 'pool/'],
  ['notifiers', 'notifiers/'],
  ['alerts', 'alerts/'],
  ['consoles', 'consoles/'],
  ['flashing', 'flashing/'],
  ['work', 'work/'],
  ['store', 'store/'],
  ['local', 'local/'],
  ['telemetry', 'telemetry/'],
  // What every room uses to wait, to tell time and to speak of events.
  ['runtime', '(?:async|cleanup|events|runtime|xml)\\.ts$'],
  ['contracts', 'contracts/'],
  ['model', 'model/'],
  ['base', '(?:(?:errors|limits)\\.ts$|limits/)'],
];

const core = '^packages/core/src/';

const downwards = rooms
  .slice(1)
  .map(([name, path], index) => ({
    name: `core-downwards-${name}`,
    comment: `${name} may import only from the rooms below it: move what both need further down.`,
    severity: 'error',
    from: { path: `${core}${path}` },
    to: { path: rooms.slice(0, index + 1).map(([, above]) => `${core}${above}`) },
  }));

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...downwards,
    {
      name: 'core-known-rooms',
      comment: 'Every file of core is in a room. A new room gets its place in the list above.',
      severity: 'error',
      from: { path: core, pathNot: [...rooms.map(([, path]) => `${core}${path}`), `${core}testing/`] },
      to: {},
    },
    {
      name: 'core-contracts-are-types',
      comment: 'Contracts are interfaces: they import types of the contracts and the model, and no code.',
      severity: 'error',
      from: { path: `${core}contracts/` },
      to: { dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'core-contracts-need-only-model',
      comment: 'Contracts speak of the model and of each other, besides of what Node itself offers.',
      severity: 'error',
      from: { path: `${core}contracts/` },
      to: { pathNot: [`${core}(?:contracts|model)/`], dependencyTypesNot: ['core'] },
    },
    {
      name: 'core-testing-is-a-leaf',
      comment: 'Fakes and contract suites have their own subpath; the product never loads them.',
      severity: 'error',
      from: { path: core, pathNot: `${core}testing/` },
      to: { path: `${core}testing/` },
    },
    {
      name: 'core-knows-no-connector',
      comment: 'Connectors depend on core, never the other way round.',
      severity: 'error',
      from: { path: '^packages/core/' },
      to: { path: '^packages/connector-|^@bringup/connector-' },
    },
    {
      name: 'packages-by-public-entry',
      comment: 'A package is imported by its name. Its files are its own business.',
      severity: 'error',
      from: { path: '^packages/([^/]+)/' },
      to: {
        path: '^packages/',
        pathNot: [
          '^packages/$1/',
          '^packages/[^/]+/(?:src/index\\.ts|src/testing/index\\.ts|dist/(?:index|testing)\\.(?:js|d\\.ts))$',
        ],
      },
    },
    {
      name: 'outsiders-by-public-entry',
      comment: 'Examples and cross-package tests import packages the way a user does.',
      severity: 'error',
      from: { path: '^(?:examples|test)/' },
      to: {
        path: '^packages/',
        pathNot: '^packages/[^/]+/(?:src/index\\.ts|src/testing/index\\.ts|dist/(?:index|testing)\\.(?:js|d\\.ts))$',
      },
    },
    {
      name: 'no-relative-way-between-packages',
      comment: 'Across packages, import by name: a relative path works only inside this checkout.',
      severity: 'error',
      from: { path: '^(packages/[^/]+|examples/[^/]+|test)/' },
      to: { path: '^packages/', pathNot: '^$1/', dependencyTypes: ['local'] },
    },
    {
      name: 'connectors-leave-each-other-alone',
      comment: 'A connector needs core alone.',
      severity: 'error',
      from: { path: '^packages/(connector-[^/]+)/src/' },
      to: { path: '^packages/connector-|^@bringup/connector-', pathNot: '^packages/$1/' },
    },
    {
      name: 'product-without-testing',
      comment: 'What ships never imports the testing subpath.',
      severity: 'error',
      from: { path: '^packages/connector-[^/]+/src/' },
      to: { path: '^packages/core/(?:src/testing/|dist/testing)' },
    },
    {
      name: 'no-cycle',
      comment: 'A cycle means that two files are one thought: merge them, or move what they share.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'Every import leads somewhere.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'declared-dependencies',
      comment: 'What a package imports stands in its package.json.',
      severity: 'error',
      from: { path: '^packages/[^/]+/src/' },
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'npm-dev'], dependencyTypesNot: ['npm-peer', 'type-only'] },
    },
  ],
  options: {
    doNotFollow: { path: ['node_modules', '(^|/)dist/'] },
    exclude: { path: '(^|/)dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    combinedDependencies: false,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['bringup-source', 'types', 'import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs'],
    },
  },
};
