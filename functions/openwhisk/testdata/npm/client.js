// What an application does with the npm client openwhisk. Run by clients_test.go,
// with __OW_API_HOST and __OW_API_KEY in the environment.
import assert from 'node:assert/strict';
import openwhisk from 'openwhisk';

const ow = openwhisk({ ignore_certs: false });
const namespace = process.env.NAMESPACE;

assert.deepEqual(await ow.namespaces.list(), [namespace]);

// actions, from source and as a function of a package
const made = await ow.actions.create({
  name: 'greet',
  action: 'function main(params) { console.log("greeting"); return { text: "hello " + params.name } }',
  annotations: { description: 'greets' },
  params: { name: 'nobody' },
});
assert.equal(made.version, '0.0.1');
assert.equal(made.exec.kind, 'nodejs:default');
await assert.rejects(ow.actions.create({ name: 'greet', action: 'function main() {}' }), (e) => e.statusCode === 409 && /already exists/.test(e.message));
await ow.actions.update({ name: 'greet', action: 'async function main(params) { console.log("greeting"); return { text: "hello " + params.name } }' });
assert.equal((await ow.actions.get('greet')).version, '0.0.2');
assert.deepEqual((await ow.actions.list()).map((a) => a.name), ['greet']);
await ow.packages.update({ name: 'tools', package: { parameters: [{ key: 'name', value: 'tools' }] } });
await ow.actions.update({ name: 'tools/greet', action: 'function main(params) { return { text: "hello " + params.name } }' });

// invocations
assert.deepEqual(await ow.actions.invoke({ name: 'greet', blocking: true, result: true, params: { name: 'Ada' } }), { text: 'hello Ada' });
assert.deepEqual(await ow.actions.invoke({ name: 'greet', blocking: true, result: true }), { text: 'hello nobody' });
assert.deepEqual(await ow.actions.invoke({ name: `/${namespace}/tools/greet`, blocking: true, result: true }), { text: 'hello tools' });
const whole = await ow.actions.invoke({ name: 'greet', blocking: true, params: { name: 'Ada' } });
assert.equal(whole.response.success, true);
assert.match((await ow.activations.logs(whole.activationId)).logs[0], /stdout: greeting$/);
assert.deepEqual((await ow.activations.result(whole.activationId)).result, { text: 'hello Ada' });
assert.equal((await ow.activations.get(whole.activationId)).name, 'greet');
const later = await ow.actions.invoke({ name: 'greet' });
for (let tries = 0; ; tries++) {
  try {
    assert.deepEqual((await ow.activations.result({ activationId: later.activationId })).result, { text: 'hello nobody' });
    break;
  } catch (e) {
    if (e.statusCode !== 404 || tries > 600) throw e;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
assert.ok((await ow.activations.list({ limit: 2 })).length === 2);

// errors reach the caller as the client throws them
await ow.actions.update({ name: 'fail', action: 'function main() { return Promise.reject({ message: "no" }) }' });
await assert.rejects(ow.actions.invoke({ name: 'fail', blocking: true }), (e) => e.statusCode === 502 && e.error.response.status === 'application error');
await assert.rejects(ow.actions.invoke({ name: 'nobody', blocking: true }), (e) => e.statusCode === 404 && /does not exist/.test(e.message));
await assert.rejects(openwhisk({ api_key: 'a:b' }).actions.list(), (e) => e.statusCode === 401);

// sequences
await ow.actions.update({ name: 'both', sequence: [`/${namespace}/greet`, '/_/upper'].slice(0, 1) });
await ow.actions.update({ name: 'upper', action: 'function main(params) { return { text: params.text.toUpperCase() } }' });
await ow.actions.update({ name: 'both', sequence: [`/${namespace}/greet`, '/_/upper'] });
assert.deepEqual(await ow.actions.invoke({ name: 'both', blocking: true, result: true, params: { name: 'Ada' } }), { text: 'HELLO ADA' });

// triggers and rules
await ow.triggers.create({ name: 'knock' });
await ow.rules.create({ name: 'answer', action: 'greet', trigger: 'knock' });
const fired = await ow.triggers.invoke({ name: 'knock', params: { name: 'Bob' } });
assert.match(fired.activationId, /^[0-9a-f]{32}$/);
await ow.rules.disable({ name: 'answer' });
assert.equal((await ow.rules.get('answer')).status, 'inactive');
await ow.rules.enable({ name: 'answer' });
assert.equal((await ow.rules.get('answer')).status, 'active');
assert.equal((await ow.rules.list()).length, 1);
assert.ok((await ow.triggers.get('knock')).rules[`${namespace}/answer`]);

// feeds
await ow.triggers.create({ name: 'clock', trigger: { annotations: [{ key: 'feed', value: '/whisk.system/alarms/alarm' }] } });
await ow.feeds.create({ feedName: '/whisk.system/alarms/alarm', trigger: 'clock', params: { cron: '0 0 * * *' } });
await ow.feeds.delete({ feedName: '/whisk.system/alarms/alarm', trigger: 'clock' });

// an action that calls the API with the key it is given
await ow.actions.update({ name: 'environment', action: 'function main() { return { key: process.env.__OW_API_KEY, host: process.env.__OW_API_HOST, namespace: process.env.__OW_NAMESPACE } }', annotations: { 'provide-api-key': true } });
const inner = await ow.actions.invoke({ name: 'environment', blocking: true, result: true });
assert.deepEqual((await openwhisk({ apihost: inner.host, api_key: inner.key, namespace: inner.namespace }).actions.get('greet')).name, 'greet');

// everything is deleted again
const all = await ow.namespaces.get();
assert.equal(all.actions.length, 6);
for (const name of ['clock', 'knock']) await ow.triggers.delete(name);
await ow.rules.delete('answer');
for (const name of ['greet', 'tools/greet', 'fail', 'both', 'upper', 'environment']) await ow.actions.delete(name);
await ow.packages.delete('tools');
assert.deepEqual(await ow.namespaces.get(), { actions: [], packages: [], triggers: [], rules: [] });
console.log('all well');
