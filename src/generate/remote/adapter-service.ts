/** Owns the two requests by which vLLM takes an adapter up and lets it go. Knows no weights. */

import { messageOf, ReckonError } from '../../util/errors.ts';
import type { RemoteClient } from './client.ts';
import { UnknownModel } from './refusal.ts';
import type { Server } from './servers.ts';

/** Has a server take up the adapter at a path that it can read; one that it has under that name already will do. */
export async function loadOnServer(
  client: RemoteClient,
  server: Server,
  name: string,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const what = `loading the adapter ${name}`;
  const body = { lora_name: name, lora_path: path };
  try {
    await client.tell(server, { path: '/v1/load_lora_adapter', model: name, body, what, signal });
  } catch (error) {
    if (!(error instanceof ReckonError)) throw error;
    if (/already.{0,10}loaded/i.test(error.message)) return;
    throw refusedLoad(error, server, name, path);
  }
}

/** Has a server let an adapter go. What cannot be unloaded does no harm, and is not an error. */
export async function unloadFromServer(
  client: RemoteClient,
  server: Server,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const what = `unloading the adapter ${name}`;
  const body = { lora_name: name };
  try {
    await client.tell(server, { path: '/v1/unload_lora_adapter', model: name, body, what, signal });
  } catch {
    // The server is gone, or has forgotten it.
  }
}

function refusedLoad(error: ReckonError, { url }: Server, name: string, path: string): ReckonError {
  const say = (code: string, message: string) => new ReckonError('environment', code, message);
  if (error.code === 'remote-no-endpoint') {
    const advice = 'start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and --enable-lora';
    return say('remote-no-lora', `${url} takes no adapters at run time; ${advice}`);
  }
  if (error instanceof UnknownModel) {
    const advice =
      'the folder must be on a disk that the server reads (engine.adapters.folder, and serverFolder where it has another name there)';
    return say('remote-no-adapter', `${url} finds no adapter at ${path}; ${advice}`);
  }
  return say('remote-adapter-refused', `${url} refused the adapter ${name}: ${messageOf(error)}`);
}
