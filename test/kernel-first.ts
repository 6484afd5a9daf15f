import { readFileSync } from 'node:fs';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The suite that builds the kernel begins, those that only boot it come last: whoever needs it before it is
 * there waits, and would keep a worker from everything else. The board comes late, too: it counts its seconds
 * while it boots, and beside a kernel that is built it gets few of them.
 */
export class KernelFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = new Map(files.map((file) => [file, rankOf(file.moduleId)]));
    return (await super.sort(files)).toSorted((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0));
  }
}

function rankOf(path: string): number {
  const text = readFileSync(path, 'utf8');
  if (text.includes('linuxBuild(')) return 0;
  return text.includes('linuxPipeline(') || text.includes('startBoardRack(') ? 2 : 1;
}
