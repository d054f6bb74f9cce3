/** Query keys. The first words say what a `/changes` event invalidates; see `live.ts`. */
export const keys = {
  viewer: ['viewer'] as const,
  system: ['system'] as const,
  dagList: (filters: object) => ['dag-list', filters] as const,
  dag: (dagId: string, ...rest: unknown[]) => ['dag', dagId, ...rest] as const,
  explain: (subject: object, state: string) => ['explain', subject, state] as const,
  runList: (filters: object) => ['run-list', filters] as const,
  run: (dagId: string, runId: string, ...rest: unknown[]) => ['run', dagId, runId, ...rest] as const,
  parseErrors: (query: string) => ['parse-errors', query] as const,
  audit: (filters: object) => ['audit', filters] as const,
  assetList: (query: string) => ['asset-list', query] as const,
  assetEvents: (name: string) => ['asset-list', 'events', name] as const,
  deadlines: (filters: object) => ['deadline-list', filters] as const,
  pools: ['admin', 'pools'] as const,
  variables: ['admin', 'variables'] as const,
  connections: ['admin', 'connections'] as const,
  search: (q: string) => ['search', q] as const,
};
