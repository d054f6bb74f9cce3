/** Changes to pools, variables and connections. */
import { useMutation, useQueryClient, type QueryKey } from '@tanstack/react-query';
import { client, unwrap, type ConnectionInfo, type PoolInfo, type VariableInfo } from './client';
import { keys } from './keys';

/** A connection as it is edited: what is never shown again is there only when it is to change. */
export type ConnectionDraft = ConnectionInfo & { password?: string; extra?: string };

function useChange<T>(
  key: QueryKey,
  change: (value: T) => Promise<unknown>,
  handled: boolean,
  action: string,
) {
  const queries = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: () => queries.invalidateQueries({ queryKey: key }),
    meta: { handled, action },
  });
}

export const useSavePool = () =>
  useChange(
    keys.pools,
    ({ name, slots, description, include_deferred }: PoolInfo) =>
      unwrap(
        client.PUT('/api/v1/pools/{name}', {
          params: { path: { name } },
          body: { slots, description, include_deferred },
        }),
      ),
    true,
    'Save',
  );
export const useDeletePool = () =>
  useChange(
    keys.pools,
    (name: string) => unwrap(client.DELETE('/api/v1/pools/{name}', { params: { path: { name } } })),
    false,
    'Delete',
  );
export const useSaveVariable = () =>
  useChange(
    keys.variables,
    ({ name, value, secret, description }: VariableInfo) =>
      unwrap(
        client.PUT('/api/v1/variables/{name}', {
          params: { path: { name } },
          body: { value: value ?? '', secret, description },
        }),
      ),
    true,
    'Save',
  );
export const useDeleteVariable = () =>
  useChange(
    keys.variables,
    (name: string) => unwrap(client.DELETE('/api/v1/variables/{name}', { params: { path: { name } } })),
    false,
    'Delete',
  );
export const useSaveConnection = () =>
  useChange(
    keys.connections,
    ({ connection_id, password, extra, ...rest }: ConnectionDraft) =>
      unwrap(
        client.PUT('/api/v1/connections/{connection_id}', {
          params: { path: { connection_id } },
          body: {
            type: rest.type,
            host: rest.host,
            port: rest.port,
            schema: rest.schema,
            login: rest.login,
            description: rest.description,
            password: password || null,
            extra: extra ? (JSON.parse(extra) as Record<string, unknown>) : null,
          },
        }),
      ),
    true,
    'Save',
  );
export const useDeleteConnection = () =>
  useChange(
    keys.connections,
    (connectionId: string) =>
      unwrap(
        client.DELETE('/api/v1/connections/{connection_id}', {
          params: { path: { connection_id: connectionId } },
        }),
      ),
    false,
    'Delete',
  );
