import type { BuildRequest, PipelineRequest } from '@bringup/core';
import type { MemoryRepository } from '@bringup/core/testing';

/** A repository with one branch. */
export const kernelUrl = 'https://git.example/linux.git';
export const headCommit = 'abcdef0123456789abcdef0123456789abcdef01';
export const oldCommit = '1234567890abcdef1234567890abcdef12345678';
export const repositories: Record<string, MemoryRepository> = {
  [kernelUrl]: { branches: { main: headCommit }, commits: [oldCommit] },
};

export const kernelBuild: BuildRequest = {
  sourceRepository: kernelUrl,
  targetArchitecture: 'x86_64',
  buildConfig: { recipe: 'kernel' },
};

export const kernelPipeline: PipelineRequest = { ...kernelBuild, environmentType: 'qemu', tests: { from: 'console' } };

/** Everything a stream of bytes says, as text. */
export async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
