/** Build, deploy, boot and test as one. */
export interface PipelineTables {
  pipelines: PipelineRow;
}

/** What a pipeline adds to its work item. */
export interface PipelineRow {
  id: string;
  name: string | null;
  repository: string;
  branch: string;
  architecture: string;
  environment_type: string;
}
