import type { GivenConnectors, Lab, PipelineRequest } from '@bringup/core';
import { boardConnectors, type BoardsSettings } from '../fixtures/boards-lab.ts';
import { connectorsOf, type LabSettings } from '../fixtures/machines.ts';
import type { Outage } from './outages.ts';

/** Where pipelines run while controllers die, what they are, and what must be true of them afterwards. */
export interface Scene {
  readonly settings: SceneSettings;
  register(lab: Lab): Promise<void>;
  /** A pipeline whose build writes a line into `marks` each time that it runs. */
  request(marks: string): Promise<PipelineRequest>;
  /** All that its build says. */
  readonly buildLog: string;
  /** What is wrong with what its machine said and did, all stages having completed. */
  faultsOf(lab: Lab, pipelineId: string): Promise<readonly string[]>;
  /** What pipelines that have all ended have left on the machines. */
  leftovers(lab: Lab): Promise<readonly string[]>;
  /** What can go wrong on the way to the machines. */
  readonly outages: readonly Outage[];
  /**
   * Does what a person has to do after outages.
   * @returns what is wrong: the lab must have told of each.
   */
  putRight?(lab: Lab): Promise<readonly string[]>;
}

/** All that a controller needs to work there. Survives JSON. */
export type SceneSettings =
  { readonly on: 'vms'; readonly lab: LabSettings } | { readonly on: 'boards'; readonly lab: BoardsSettings };

/** Scratch folder of a scene; the artifacts are there. */
export function folderOf({ lab }: SceneSettings): string {
  return lab.folder;
}

/** What reaches a scene's machines. */
export function connectorsAt(settings: SceneSettings): GivenConnectors {
  return settings.on === 'vms' ? connectorsOf(settings.lab) : boardConnectors(settings.lab);
}

const buildLines = 500;

/** A build that says what it does, for as long as a process may die in it; then `make`. */
export function buildScript(make = ''): string {
  return `echo ran >> "$MARKS"
i=0; while [ $i -lt ${buildLines} ]; do i=$((i + 1)); echo "line $i"; done
${make}sleep 1
`;
}

/** All that such a build says. */
export function buildLog({ repository, commitHash }: { repository: string; commitHash: string }): string {
  const lines = Array.from({ length: buildLines }, (_, index) => `line ${index + 1}\n`).join('');
  return `bringup: fetching ${repository}\nbringup: source is at ${commitHash}\n${lines}`;
}
