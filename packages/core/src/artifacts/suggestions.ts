import type { Kysely } from 'kysely';
import { BringupError, type ErrorDetails } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import type { ArtifactSelection } from '../model/artifact.ts';
import type { Schema } from '../store/schema.ts';

type Known = Pick<Schema['builds'], 'id' | 'branch' | 'commit_hash' | 'architecture' | 'repository'>;

/** What is looked for, with what is known of a build that was named. */
interface Near extends Pick<ArtifactSelection, 'commitHash' | 'branch' | 'sourceRepository' | 'architecture'> {
  readonly commitPrefix?: string;
}

/**
 * The `artifact-not-found` for a selection that no build fits. `details.suggestions` are builds that
 * come near, best first: the same commit, then the same branch and repository for another
 * architecture, and so on down to the latest of all.
 */
export async function suggestBuilds(db: Kysely<Schema>, selection: ArtifactSelection): Promise<BringupError> {
  const named = selection.buildId === undefined ? undefined : await record(db, selection.buildId);
  const near = withPrefix(named === undefined ? selection : ofBuild(named));
  const others = await nearest(db, near, selection.buildId);
  const asked = Object.entries(selection)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(', ');
  const why = named === undefined ? `there is no successful build for ${asked}` : whyNot(named);
  const known = others.map((b) => `${b.id} (${b.branch}, ${b.commit_hash?.slice(0, 12) ?? '?'}, ${b.architecture})`);
  const hint = known.length === 0 ? 'there is no other either' : `the nearest are ${known.join(', ')}`;
  return new BringupError('artifact-not-found', `${why}; ${hint}`, {
    details: { selection: { ...selection } as ErrorDetails, suggestions: others.map((build) => build.id) },
  });
}

async function record(db: Kysely<Schema>, id: string) {
  return db
    .selectFrom('builds')
    .innerJoin('work_items', 'work_items.id', 'builds.id')
    .selectAll('builds')
    .select('work_items.state')
    .where('builds.id', '=', id)
    .executeTakeFirst();
}

function ofBuild(build: Known): Near {
  return {
    ...(build.commit_hash !== null && { commitHash: build.commit_hash }),
    branch: build.branch,
    sourceRepository: build.repository,
    architecture: build.architecture as Architecture,
  };
}

function withPrefix(near: Near): Near {
  const commitPrefix = near.commitHash?.toLowerCase().slice(0, limits.commitPrefixDigits) ?? '';
  const isPrefix = commitPrefix.length === limits.commitPrefixDigits && /^[0-9a-f]+$/.test(commitPrefix);
  return { ...near, ...(isPrefix && { commitPrefix }) };
}

function whyNot(build: NonNullable<Awaited<ReturnType<typeof record>>>): string {
  if (build.artifacts_removed_at !== null) {
    const when = new Date(build.artifacts_removed_at).toISOString();
    return `the artifacts of build ${build.id} were removed at ${when}; build it again`;
  }
  if (build.succeeded_at === null) return `build ${build.id} is ${build.state} and has no complete artifacts`;
  return `build ${build.id} does not fit`;
}

/** From the nearest to the farthest: what a build has in common with the one that is looked for. */
const nearness: readonly (readonly (keyof Near)[])[] = [
  ['commitHash', 'architecture'],
  ['commitHash'],
  ['commitPrefix', 'architecture'],
  ['commitPrefix'],
  ['sourceRepository', 'branch', 'architecture'],
  ['sourceRepository', 'branch'],
  ['branch', 'architecture'],
  ['branch'],
  ['sourceRepository', 'architecture'],
  ['sourceRepository'],
  ['architecture'],
  [],
];

async function nearest(db: Kysely<Schema>, near: Near, except: string | undefined): Promise<Known[]> {
  const found = new Map<string, Known>();
  for (const fields of nearness) {
    if (fields.some((field) => near[field] === undefined)) continue;
    const common = Object.fromEntries(fields.map((field) => [field, near[field]])) as Near;
    for (const build of await latest(db, common)) {
      if (build.id !== except && found.size < limits.artifactSuggestions) found.set(build.id, build);
    }
    if (found.size >= limits.artifactSuggestions) break;
  }
  return [...found.values()];
}

async function latest(db: Kysely<Schema>, common: Near): Promise<Known[]> {
  const { commitHash, commitPrefix, branch, sourceRepository, architecture } = common;
  let query = db
    .selectFrom('builds')
    .select(['id', 'branch', 'commit_hash', 'architecture', 'repository'])
    .where('succeeded_at', 'is not', null)
    .where('artifacts_removed_at', 'is', null)
    .orderBy('succeeded_at', 'desc')
    .orderBy('id', 'desc')
    .limit(limits.artifactSuggestions + 1);
  if (commitHash !== undefined) query = query.where('commit_hash', '=', commitHash);
  if (commitPrefix !== undefined) query = query.where('commit_hash', 'like', `${commitPrefix}%`);
  if (branch !== undefined) query = query.where('branch', '=', branch);
  if (sourceRepository !== undefined) query = query.where('repository', '=', sourceRepository);
  if (architecture !== undefined) query = query.where('architecture', '=', architecture);
  return query.execute();
}
