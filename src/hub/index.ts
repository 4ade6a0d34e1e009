/** Owns the public face of the hub: models and data sets by name, from a folder or the hub's cache. */

export { cachedSnapshot } from './cache.ts';
export { cachedFolder, cachedModel, localDataset, localModel, modelFiles } from './local.ts';
export { statusOf } from './refusal.ts';
export { isHubId, parseRepoId, type RepoId, type RepoKind } from './repo-id.ts';
export { type HubSettings, hubSettings } from './settings.ts';
export { type DownloadOptions, type FileChoice, openSnapshot } from './snapshot.ts';
