/** What a run prints, and the JSON report that `.ci/run` counts from when it asks for one. */
const file = process.env['VITEST_REPORT'];

export const reporters: ('default' | ['json', { outputFile: string }])[] =
  file === undefined ? ['default'] : ['default', ['json', { outputFile: file }]];
