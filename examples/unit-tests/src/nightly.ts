import type { Architecture, Lab, Pipeline } from '@bringup/core';

/** What is built and booted every night. */
export interface Night {
  readonly repository: string;
  readonly branches: readonly string[];
  readonly architectures: readonly Architecture[];
}

/** How one branch did on one architecture. `unknown`: the lab could not tell. */
export interface Verdict {
  readonly branch: string;
  readonly architecture: Architecture;
  readonly outcome: 'good' | 'bad' | 'unknown';
  readonly reason?: string;
}

/** Builds, boots and tests every branch on every architecture, all at once; the lab queues what it must. */
export async function runNight(lab: Lab, night: Night, signal?: AbortSignal): Promise<Verdict[]> {
  const pairs = night.branches.flatMap((branch) =>
    night.architectures.map((architecture) => ({ branch, architecture })),
  );
  return Promise.all(
    pairs.map(async ({ branch, architecture }) => {
      const { id } = await lab.pipelines.createPipeline({
        name: `nightly ${branch} ${architecture}`,
        sourceRepository: night.repository,
        branch,
        targetArchitecture: architecture,
        buildConfig: { recipe: 'kernel' },
        environmentType: 'qemu',
        tests: { from: 'console' },
      });
      const pipeline = await lab.pipelines.waitForPipeline(id, signal === undefined ? {} : { signal });
      return { branch, architecture, ...judge(pipeline) };
    }),
  );
}

function judge({ status, error }: Pipeline): Pick<Verdict, 'outcome' | 'reason'> {
  if (status === 'completed') return { outcome: 'good' };
  const reason = error?.message ?? 'cancelled';
  switch (error?.code) {
    case 'build-failed':
    case 'boot-failed':
    case 'boot-timeout':
    case 'tests-failed':
    case 'tests-incomplete':
      return { outcome: 'bad', reason };
    default:
      return { outcome: 'unknown', reason };
  }
}

/** The mail to the team: one line when all is well, else one more for each trouble. */
export function toMail(verdicts: readonly Verdict[]): string {
  const good = verdicts.filter(({ outcome }) => outcome === 'good').length;
  const troubles = verdicts
    .filter(({ outcome }) => outcome !== 'good')
    .map(({ branch, architecture, outcome, reason }) => `${branch} on ${architecture} is ${outcome}: ${reason ?? ''}`);
  return [`${good} of ${verdicts.length} are good`, ...troubles].join('\n');
}
