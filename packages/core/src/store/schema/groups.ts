import type { Generated } from 'kysely';

/** Resources that belong together, and who may use them. */
export interface GroupTables {
  groups: GroupRow;
  group_members: GroupMemberRow;
  group_approvals: GroupApprovalRow;
  policy_decisions: PolicyDecisionRow;
}

/** A group of resources of one kind. */
export interface GroupRow {
  id: string;
  name: string;
  description: string | null;
  kind: string;
  /** Resources with all these labels are members. JSON. */
  labels: string;
  /** Ids of resources that are members whatever their labels. JSON. */
  listed: string;
  /** An AllocationPolicy as JSON. */
  policy: string;
  priority: number;
  /** Grows with each decision that counts: those who count take turns. */
  turn: number;
  created_at: number;
  updated_at: number;
}

/** Who is in a group at the moment, worked out from its labels and its list. */
export interface GroupMemberRow {
  group_id: string;
  resource_id: string;
}

/** A requester's wish to use a group, and what became of it. */
export interface GroupApprovalRow {
  id: string;
  group_id: string;
  requester: string;
  team: string | null;
  /** wanted, approved or denied. */
  state: string;
  requested_at: number;
  expires_at: number;
  decided_at: number | null;
  decided_by: string | null;
  reason: string | null;
}

/** What a policy decided on one allocation. */
export interface PolicyDecisionRow {
  seq: Generated<number>;
  at: number;
  group_id: string;
  policy: string;
  resource_id: string;
  requester: string | null;
  team: string | null;
  allowed: number;
  reason: string;
}
