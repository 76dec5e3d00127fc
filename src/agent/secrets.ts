import { type Reflector, type ReflectorDeps, type ReflectorHandler, startReflector } from "#k8s/reflector.ts";
import { SECRETS } from "#k8s/resources.ts";
import type { Secret } from "#k8s/types.ts";
import type { SecretRef } from "#policy/rule.ts";
import type { Database } from "#statedb/database.ts";
import type { Table } from "#statedb/table.ts";

/** A Kubernetes Secret that a policy of this node names. Tables print themselves: the values must not be among the columns. */
export interface SecretRow {
  /** `namespace/name`. */
  readonly key: string;
  readonly values: Readonly<Record<string, string>>;
}

export interface Secrets extends AsyncDisposable {
  readonly table: Table<SecretRow>;
  /** From now on exactly these are watched; what is not among them is forgotten. */
  follow(wanted: readonly SecretRef[]): void;
}

export function secretKey({ namespace, name }: SecretRef): string {
  return `${namespace}/${name}`;
}

/** Watches the Secrets that are asked for, one by one: the agent reads no others. */
export function createSecrets(deps: ReflectorDeps & { readonly db: Database }): Secrets {
  const table = deps.db.createTable<SecretRow>({
    name: "secrets",
    key: (row) => row.key,
    columns: { SECRET: (row) => row.key, KEYS: (row) => Object.keys(row.values) },
  });
  const reflectors = new Map<string, Reflector>();
  const endings = new Set<Promise<void>>();
  const end = async (key: string, reflector: Reflector) => {
    await reflector[Symbol.asyncDispose]();
    if (!reflectors.has(key)) table.delete(key);
  };
  const stop = (key: string, reflector: Reflector) => {
    reflectors.delete(key);
    const ending = end(key, reflector).finally(() => endings.delete(ending));
    endings.add(ending);
  };
  return {
    table,
    follow(wanted) {
      const refs = new Map(wanted.map((ref) => [secretKey(ref), ref]));
      for (const [key, reflector] of [...reflectors]) if (!refs.has(key)) stop(key, reflector);
      for (const [key, { namespace, name }] of refs) {
        if (reflectors.has(key)) continue;
        const options = { namespace, fieldSelector: `metadata.name=${name}` };
        reflectors.set(key, startReflector(deps, SECRETS, options, handlerOf(table, key)));
      }
    },
    async [Symbol.asyncDispose]() {
      for (const [key, reflector] of [...reflectors]) stop(key, reflector);
      await Promise.all(endings);
    },
  };
}

function handlerOf(table: { set(row: SecretRow): void; delete(key: string): unknown }, key: string): ReflectorHandler<Secret> {
  const put = ({ data = {} }: Secret) => {
    const values = Object.fromEntries(Object.entries(data).map(([name, text]) => [name, Buffer.from(text, "base64").toString("utf8")]));
    table.set({ key, values });
  };
  // A server that ignores the selector must not lend us another Secret's values.
  const isOurs = ({ metadata }: Secret) => `${metadata.namespace ?? ""}/${metadata.name}` === key;
  return {
    replace(objects) {
      const found = objects.find(isOurs);
      if (found === undefined) table.delete(key);
      else put(found);
    },
    upsert: (object) => (isOurs(object) ? put(object) : undefined),
    remove: (object) => (isOurs(object) ? void table.delete(key) : undefined),
  };
}
