import type { Kysely, SelectQueryBuilder } from 'kysely';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ArtifactSelection } from '../model/artifact.ts';
import type { Schema } from '../store/schema.ts';
import { suggestBuilds } from './suggestions.ts';

/** A finished build. */
export interface FoundBuild {
  readonly id: string;
  readonly commit_hash: string | null;
}

/** Files that are kept for people: a damaged one is no reason not to use a build. */
const logTypes = ['build_log', 'boot_log', 'test_results'] as const;

/**
 * The newest successful build a selection means, whose artifacts are all there and sound.
 * @throws `artifact-not-found`, suggesting builds that come near; `artifact-corrupted` when all that fit
 * are damaged; `invalid-input` for a commit whose first digits fit several.
 */
export async function findBuild(db: Kysely<Schema>, selection: ArtifactSelection): Promise<FoundBuild> {
  const commitHash = await wholeCommit(db, selection);
  const wanted = { ...selection, ...(commitHash !== undefined && { commitHash }) };
  const sound = await matching(db, wanted)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('artifacts')
            .innerJoin('blobs', 'blobs.sha256', 'artifacts.sha256')
            .select('artifacts.id')
            .whereRef('artifacts.producer_id', '=', 'builds.id')
            .where('artifacts.type', 'not in', logTypes)
            .where('blobs.corrupted_at', 'is not', null),
        ),
      ),
    )
    .executeTakeFirst();
  if (sound !== undefined) return sound;
  const damaged = await matching(db, wanted).executeTakeFirst();
  if (damaged !== undefined) throw await damagedBuild(db, damaged.id, wanted);
  throw await suggestBuilds(db, wanted);
}

function matching(
  db: Kysely<Schema>,
  { buildId, commitHash, tag, branch, sourceRepository, architecture }: ArtifactSelection,
): SelectQueryBuilder<Schema, 'builds', FoundBuild> {
  let query = db
    .selectFrom('builds')
    .select(['id', 'commit_hash'])
    .where('succeeded_at', 'is not', null)
    .where('artifacts_removed_at', 'is', null)
    .orderBy('succeeded_at', 'desc')
    .orderBy('id', 'desc')
    .limit(1);
  if (buildId !== undefined) return query.where('id', '=', buildId);
  if (commitHash !== undefined) query = query.where('commit_hash', '=', commitHash);
  else if (tag !== undefined) {
    query = query.where('id', 'in', (eb) => eb.selectFrom('build_tags').select('build_id').where('tag', '=', tag));
  } else if (branch !== undefined) query = query.where('branch', '=', branch);
  if (sourceRepository !== undefined) query = query.where('repository', '=', sourceRepository);
  if (architecture !== undefined) query = query.where('architecture', '=', architecture);
  return query;
}

/** A commit asked for by its first digits, as a whole. */
async function wholeCommit(db: Kysely<Schema>, selection: ArtifactSelection): Promise<string | undefined> {
  const { commitHash, buildId } = selection;
  if (commitHash === undefined || buildId !== undefined) return commitHash;
  const digits = commitHash.toLowerCase();
  if (!/^[0-9a-f]+$/.test(digits) || digits.length < limits.commitPrefixDigits || digits.length >= 40) {
    return commitHash;
  }
  const rows = await db
    .selectFrom('builds')
    .select('commit_hash')
    .distinct()
    .where('succeeded_at', 'is not', null)
    .where('commit_hash', 'like', `${digits}%`)
    .$if(selection.sourceRepository !== undefined, (query) =>
      query.where('repository', '=', selection.sourceRepository ?? ''),
    )
    .limit(limits.artifactSuggestions)
    .execute();
  if (rows.length > 1) {
    const which = rows.map((row) => row.commit_hash).join(', ');
    throw invalidInput('the artifact selection', [
      {
        path: 'commitHash',
        message: `'${commitHash}' is the beginning of several commits: ${which}; give more digits`,
      },
    ]);
  }
  return rows[0]?.commit_hash ?? commitHash;
}

async function damagedBuild(db: Kysely<Schema>, buildId: string, selection: ArtifactSelection): Promise<BringupError> {
  const files = await db
    .selectFrom('artifacts')
    .innerJoin('blobs', 'blobs.sha256', 'artifacts.sha256')
    .select('artifacts.filename')
    .where('artifacts.producer_id', '=', buildId)
    .where('blobs.corrupted_at', 'is not', null)
    .orderBy('artifacts.filename')
    .execute();
  const names = files.map(({ filename }) => filename);
  const { details } = await suggestBuilds(db, { ...selection, buildId });
  return new BringupError(
    'artifact-corrupted',
    `the stored ${names.join(', ')} of build ${buildId} ${names.length === 1 ? 'is' : 'are'} damaged; build it again, or use another build`,
    { details: { ...details, buildId, filenames: names } },
  );
}
