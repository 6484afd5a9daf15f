/** What was put where. */
export interface DeploymentTables {
  deployments: DeploymentRow;
  flashes: FlashRow;
}

/** What a deployment adds to its work item. */
export interface DeploymentRow {
  id: string;
  environment_id: string;
  target_type: string;
  target_id: string | null;
  architecture: string | null;
  build_id: string | null;
  commit_hash: string | null;
  /** Where its build came from: `repository branch`, by which known-good deployments are found. */
  line: string | null;
  artifact_ids: string;
  /** The VM as it was asked for: a VmSpec as JSON. */
  vm: string | null;
  /** The newest boot of it. */
  boot_id: string | null;
  boot_verified: number;
  /** How that boot went: a BootReport as JSON. */
  boot: string | null;
  /** The last verification: a VerificationReport as JSON. */
  verification: string | null;
  /** The deployment that put a known-good one in its place. */
  rolled_back_by: string | null;
}

/** One flash of a board: what a flash adds to its work item. */
export interface FlashRow {
  id: string;
  board_id: string;
  deployment_id: string | null;
  build_id: string | null;
  commit_hash: string | null;
  firmware_version: string;
  /** What goes where: FlashPart[] as JSON. */
  parts: string;
  /** What is proven of each slot: FlashReceipt[] as JSON. */
  receipts: string;
  attempts: number;
  /** Bytes of all parts that have been sent in this attempt. */
  transferred_bytes: number;
}
