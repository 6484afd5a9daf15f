CREATE TABLE alerts (
  id text not null primary key,
  type text not null,
  severity text not null,
  state text not null,
  subject text not null,
  message text not null,
  details text not null,
  count integer not null,
  raised_at integer not null,
  last_seen_at integer not null,
  acknowledged_at integer,
  acknowledged_by text,
  resolved_at integer,
  resolution text,
  resolved_by text,
  flaps integer not null,
  told text,
  told_severity text,
  told_count integer not null,
  spread_count integer not null,
  settle_at integer);

CREATE TABLE architecture_sets (
  architecture text not null,
  architectures text not null,
  constraint architecture_sets_key primary key (architecture, architectures)) without rowid;

CREATE TABLE artifacts (
  id text not null primary key,
  producer_id text not null,
  build_id text,
  type text not null,
  filename text not null,
  sha256 text not null,
  size_bytes integer not null,
  architecture text not null,
  metadata text not null,
  created_at integer not null,
  constraint artifacts_producer_file unique (producer_id, filename));

CREATE TABLE blob_claims (
  sha256 text not null,
  holder text not null,
  created_at integer not null,
  constraint blob_claims_key primary key (sha256, holder));

CREATE TABLE blobs (
  sha256 text not null primary key,
  size_bytes integer not null,
  verified_at integer not null,
  corrupted_at integer,
  unused_since integer,
  doomed_at integer);

CREATE TABLE build_tags (
  build_id text not null references builds (id) on delete cascade,
  tag text not null,
  created_at integer not null,
  constraint build_tags_key primary key (build_id, tag));

CREATE TABLE build_times (
  repository text not null,
  architecture text not null,
  server_id text not null,
  mean_seconds real not null,
  builds integer not null,
  updated_at integer not null,
  constraint build_times_key primary key (repository, architecture, server_id));

CREATE TABLE builds (
  id text not null primary key references work_items (id) on delete cascade,
  repository text not null,
  branch text not null,
  wanted_commit text,
  commit_hash text,
  architecture text not null,
  config text not null,
  server_id text,
  wanted_server_id text,
  succeeded_at integer,
  resource_use text,
  pinned integer default 0 not null,
  artifacts_removed_at integer);

CREATE TABLE chores (
  name text not null primary key,
  due_at integer not null);

CREATE TABLE conditions (
  name text not null primary key,
  since integer not null,
  details text not null);

CREATE TABLE deliveries (
  id text not null primary key references work_items (id) on delete cascade,
  alert_id text not null references alerts (id) on delete cascade,
  notifier text not null,
  reason text not null,
  turn integer not null);

CREATE TABLE deployments (
  id text not null primary key references work_items (id) on delete cascade,
  environment_id text not null,
  target_type text not null,
  target_id text,
  architecture text,
  build_id text,
  commit_hash text,
  line text,
  artifact_ids text not null,
  vm text,
  boot_id text,
  boot_verified integer not null,
  boot text,
  verification text,
  rolled_back_by text);

CREATE TABLE environments (
  id text not null primary key,
  owner text,
  team text,
  target_type text not null,
  target_id text,
  reservation_id text,
  deployment_id text not null,
  keep_ms integer not null,
  expires_at integer,
  released_at integer,
  created_at integer not null);

CREATE TABLE events (
  seq integer primary key,
  at integer not null,
  name text not null,
  subject text not null,
  data text not null);

CREATE TABLE facts (
  name text not null primary key,
  value text not null);

CREATE TABLE flashes (
  id text not null primary key references work_items (id) on delete cascade,
  board_id text not null,
  deployment_id text,
  build_id text,
  commit_hash text,
  firmware_version text not null,
  parts text not null,
  receipts text not null,
  attempts integer not null,
  transferred_bytes integer not null);

CREATE TABLE group_approvals (
  id text not null primary key,
  group_id text not null references groups (id) on delete cascade,
  requester text not null,
  team text,
  state text not null,
  requested_at integer not null,
  expires_at integer not null,
  decided_at integer,
  decided_by text,
  reason text);

CREATE TABLE group_members (
  group_id text not null references groups (id) on delete cascade,
  resource_id text not null references resources (id) on delete cascade,
  constraint group_members_key primary key (group_id, resource_id));

CREATE TABLE groups (
  id text not null primary key,
  name text not null unique,
  description text,
  kind text not null,
  labels text not null,
  listed text not null,
  policy text not null,
  priority integer not null,
  turn integer not null,
  created_at integer not null,
  updated_at integer not null);

CREATE TABLE health_history (
  resource_id text not null references resources (id) on delete cascade,
  resolution text not null,
  at integer not null,
  sample text not null,
  looks text,
  constraint health_history_key primary key (resource_id, resolution, at));

CREATE TABLE health_thresholds (
  scope text not null,
  scope_id text not null,
  thresholds text not null,
  constraint health_thresholds_key primary key (scope, scope_id));

CREATE TABLE log_chunks (
  log_id text not null references logs (id) on delete cascade,
  start_byte integer not null,
  bytes blob not null,
  constraint log_chunks_key primary key (log_id, start_byte));

CREATE TABLE logs (
  id text not null primary key,
  size_bytes integer not null,
  ended integer not null);

CREATE TABLE maintenance_windows (
  id text not null primary key,
  resource_id text not null references resources (id) on delete cascade,
  starts_at integer not null,
  ends_at integer,
  reason text not null,
  state text not null);

CREATE TABLE monitor_leases (
  shard integer not null primary key,
  owner text not null,
  lease_until integer not null);

CREATE TABLE monitors (
  owner text not null primary key,
  lease_until integer not null);

CREATE TABLE pipelines (
  id text not null primary key references work_items (id) on delete cascade,
  name text,
  repository text not null,
  branch text not null,
  architecture text not null,
  environment_type text not null);

CREATE TABLE policy_decisions (
  seq integer primary key autoincrement,
  at integer not null,
  group_id text not null,
  policy text not null,
  resource_id text not null,
  requester text,
  team text,
  allowed integer not null,
  reason text not null);

CREATE TABLE power_events (
  id text not null primary key references work_items (id) on delete cascade,
  board_id text not null,
  action text not null,
  trigger_kind text not null,
  requested_by text not null,
  reason text not null,
  cycles integer not null,
  off_at integer,
  on_at integer,
  answered_at integer);

CREATE TABLE reservations (
  id text not null primary key,
  resource_id text not null references resources (id),
  holder text not null,
  slots integer not null,
  cpu integer not null,
  memory_mb integer not null,
  storage_gb real not null,
  fence integer not null,
  expires_at integer not null,
  lease_ms integer not null,
  expected_end_at integer,
  created_at integer not null) without rowid;

CREATE TABLE resources (
  id text not null primary key,
  kind text not null,
  name text not null,
  status text not null,
  status_reason text,
  status_since integer not null,
  blocked text,
  architectures text not null,
  group_id text,
  utilization text,
  health text,
  good_deployment_id text,
  firmware text,
  maintenance integer not null,
  registration text not null,
  detected text not null,
  profile text not null,
  labels text not null,
  slots_total integer not null,
  slots_used integer not null,
  cpu_total integer not null,
  cpu_used integer not null,
  memory_mb_total integer not null,
  memory_mb_used integer not null,
  storage_gb_total real not null,
  storage_gb_used real not null,
  open integer generated always as (case when status in ('online', 'degraded') and blocked is null and maintenance = 0 and slots_used < slots_total then 1 else 0 end) stored,
  load real generated always as (max(coalesce(cast(slots_used as double precision) / nullif(slots_total, 0), 0.0), coalesce(cast(cpu_used as double precision) / nullif(cpu_total, 0), 0.0), coalesce(cast(memory_mb_used as double precision) / nullif(memory_mb_total, 0), 0.0), coalesce(cast(storage_gb_used as double precision) / nullif(storage_gb_total, 0), 0.0))) stored,
  held_rank integer,
  fence integer not null,
  last_health_check integer,
  created_at integer not null,
  updated_at integer not null,
  constraint resources_kind_name unique (kind, name));

CREATE TABLE test_runs (
  id text not null primary key references work_items (id) on delete cascade,
  deployment_id text not null,
  results text);

CREATE TABLE traits (
  resource_id text not null references resources (id) on delete cascade,
  trait text not null,
  constraint traits_key primary key (trait, resource_id));

CREATE TABLE waiting (
  seq integer primary key autoincrement,
  id text not null unique,
  shape text not null,
  kind text not null,
  architecture text not null,
  holder text not null,
  waiter text,
  state text not null,
  priority integer not null,
  rank integer not null,
  preferred text,
  expected_ms integer,
  enqueued_at integer not null,
  deadline_at integer,
  held_id text);

CREATE TABLE waiting_shapes (
  id text not null primary key,
  kind text not null,
  architecture text not null,
  only_id text not null,
  trait text not null,
  slots integer not null,
  cpu integer not null,
  memory_mb integer not null,
  storage_gb real not null,
  request text not null,
  waiting integer not null,
  first_rank integer not null,
  first_seq integer not null);

CREATE TABLE work_items (
  id text not null primary key,
  kind text not null,
  state text not null,
  phase text,
  input text not null,
  checkpoint text,
  output text,
  error text,
  parent_id text references work_items (id) on delete cascade,
  child_key text,
  wake_on text,
  priority integer not null,
  run_after integer not null,
  wait_ms integer,
  deadline_at integer,
  stop_reason text,
  takeovers integer not null,
  traceparent text,
  owner text,
  lease_until integer,
  fence integer not null,
  created_at integer not null,
  started_at integer,
  finished_at integer,
  constraint work_items_child unique (parent_id, child_key));

CREATE INDEX alerts_by_state on alerts (
  state, id);

CREATE INDEX alerts_by_subject on alerts (
  subject, type, resolved_at);

CREATE INDEX architecture_sets_by_set on architecture_sets (
  architectures, architecture);

CREATE INDEX artifacts_by_build on artifacts (
  build_id);

CREATE INDEX artifacts_by_hash on artifacts (
  sha256);

CREATE INDEX blobs_by_verification on blobs (
  verified_at);

CREATE INDEX build_tags_by_tag on build_tags (
  tag, build_id);

CREATE INDEX builds_by_branch on builds (
  branch, architecture, succeeded_at);

CREATE INDEX builds_by_commit on builds (
  commit_hash, architecture);

CREATE INDEX deliveries_by_alert on deliveries (
  alert_id, turn);

CREATE INDEX deployments_by_environment on deployments (
  environment_id, id);

CREATE INDEX deployments_by_line on deployments (
  line, architecture, boot_verified, id);

CREATE INDEX deployments_by_target on deployments (
  target_id, id);

CREATE INDEX environments_by_reservation on environments (
  reservation_id);

CREATE INDEX environments_by_target on environments (
  target_id, released_at);

CREATE INDEX events_of_resources on events (
  subject, seq) where name like 'resource:%';

CREATE INDEX flashes_by_board on flashes (
  board_id, id);

CREATE INDEX group_approvals_by_requester on group_approvals (
  group_id, requester, expires_at);

CREATE INDEX group_members_by_resource on group_members (
  resource_id);

CREATE INDEX maintenance_windows_by_resource on maintenance_windows (
  resource_id, state);

CREATE INDEX maintenance_windows_by_state on maintenance_windows (
  state, starts_at);

CREATE INDEX policy_decisions_by_group on policy_decisions (
  group_id, seq);

CREATE INDEX power_events_by_board on power_events (
  board_id, id);

CREATE INDEX reservations_by_resource on reservations (
  resource_id);

CREATE INDEX resources_by_load on resources (
  kind, architectures, open, load, id);

CREATE INDEX test_runs_by_deployment on test_runs (
  deployment_id, id);

CREATE INDEX traits_by_resource on traits (
  resource_id);

CREATE INDEX waiting_by_deadline on waiting (
  state, deadline_at);

CREATE INDEX waiting_by_hold on waiting (
  held_id);

CREATE INDEX waiting_by_shape on waiting (
  shape, state, rank, seq);

CREATE INDEX waiting_by_turn on waiting (
  kind, architecture, state, rank, seq);

CREATE INDEX waiting_by_waiter on waiting (
  waiter);

CREATE INDEX waiting_shapes_by_turn on waiting_shapes (
  kind, architecture, only_id, first_rank, first_seq);

CREATE INDEX work_items_by_kind on work_items (
  kind, id);

CREATE INDEX work_items_by_turn on work_items (
  state, priority desc, id);

CREATE INDEX work_items_by_wake on work_items (
  wake_on, state);
