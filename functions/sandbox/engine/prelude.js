// Evaluates to a function that is called once in every new context, before the
// user's script: with what the host does (log, answer, now), the parameters and
// the environment as JSON, and the global object. It returns what the host calls
// later.
(function (log, answer, now, parameters, environment, global) {
  'use strict';
  // The user's script can replace every global, so keep what is needed later.
  const { stringify, parse } = JSON;
  const { min, max } = Math;
  const resolve = Promise.resolve.bind(Promise);
  const env = parse(environment);

  function inspect(value) {
    if (typeof value === 'string') return value;
    if (value instanceof Error) return value.stack ? `${value}\n${value.stack}`.trimEnd() : String(value);
    if (typeof value === 'object' && value !== null) {
      try {
        return stringify(value);
      } catch {
        return '[object with cycles]';
      }
    }
    return typeof value === 'function' ? `[Function: ${value.name || 'anonymous'}]` : String(value);
  }

  // The format of Node's console: %s, %d, %i, %f, %j, %o, %O, %%.
  function format(values) {
    let rest = values;
    let text = '';
    if (typeof values[0] === 'string') {
      let next = 1;
      text = values[0].replace(/%[sdifjoO%]/g, (verb) => {
        if (verb === '%%') return '%';
        if (next >= values.length) return verb;
        const value = values[next++];
        switch (verb) {
          case '%d': return String(Number(value));
          case '%i': return String(parseInt(value, 10));
          case '%f': return String(parseFloat(value));
          case '%j': return stringify(value);
          default: return inspect(value);
        }
      });
      rest = values.slice(next);
      if (rest.length > 0) text += ' ';
    }
    return text + rest.map(inspect).join(' ');
  }
  const printer = (stream) => (...values) => log(stream, format(values));
  global.console = {
    log: printer(1), info: printer(1), debug: printer(1),
    error: printer(2), warn: printer(2), trace: printer(2),
    assert(holds, ...values) {
      if (!holds) log(2, 'Assertion failed' + (values.length ? ': ' + format(values) : ''));
    },
  };

  // Timers, in the order of their time, then of their making.
  const timers = new Map();
  let lastTimer = 0;
  function setTimer(callback, delay, values, repeat) {
    if (typeof callback !== 'function') throw new TypeError('the callback of a timer must be a function');
    const wait = max(1, min(Number(delay) || 1, 2147483647));
    timers.set(++lastTimer, { callback, values, at: now() + wait, every: repeat ? wait : 0 });
    return lastTimer;
  }
  global.setTimeout = (callback, delay, ...values) => setTimer(callback, delay, values, false);
  global.setInterval = (callback, delay, ...values) => setTimer(callback, delay, values, true);
  global.setImmediate = (callback, ...values) => setTimer(callback, 0, values, false);
  global.clearTimeout = global.clearInterval = global.clearImmediate = (timer) => { timers.delete(timer); };
  function earliest() {
    let first;
    for (const [number, timer] of timers) {
      if (first === undefined || timer.at < timers.get(first).at) first = number;
    }
    return first;
  }

  global.process = {
    env, argv: ['node', 'action'], platform: 'wasi', version: 'v0.0.0', versions: {},
    cwd: () => '/',
    nextTick: (callback, ...values) => { resolve().then(() => callback(...values)); },
    hrtime: Object.assign((since) => {
      const ns = now() * 1e6;
      const seconds = Math.floor(ns / 1e9) - (since ? since[0] : 0);
      const rest = Math.floor(ns % 1e9) - (since ? since[1] : 0);
      return rest < 0 ? [seconds - 1, rest + 1e9] : [seconds, rest];
    }, { bigint: () => BigInt(Math.floor(now() * 1e6)) }),
    exit() { throw new Error('process.exit is not there: return the result from main'); },
  };
  global.module = { exports: {} };
  global.exports = global.module.exports;
  global.require = (name) => {
    throw new Error(`Cannot find module '${name}': an action has the language and the globals, put other modules into its code with a bundler`);
  };
  global.global = global;

  global.TextEncoder = class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') {
      const escaped = encodeURIComponent(String(text).toWellFormed());
      const bytes = [];
      for (let i = 0; i < escaped.length; i++) {
        if (escaped[i] === '%') {
          bytes.push(parseInt(escaped.slice(i + 1, i + 3), 16));
          i += 2;
        } else {
          bytes.push(escaped.charCodeAt(i));
        }
      }
      return new Uint8Array(bytes);
    }
  };
  global.TextDecoder = class TextDecoder {
    constructor(label = 'utf-8') {
      if (!/^utf-?8$/i.test(label)) throw new RangeError('only utf-8 can be decoded');
    }
    get encoding() { return 'utf-8'; }
    decode(input = new Uint8Array()) {
      const bytes = ArrayBuffer.isView(input)
        ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
      let escaped = '';
      for (const byte of bytes) escaped += '%' + (byte < 16 ? '0' : '') + byte.toString(16);
      try {
        return decodeURIComponent(escaped).replace(/^\uFEFF/, '');
      } catch {
        throw new TypeError('the bytes are not valid utf-8');
      }
    }
  };

  // What a promise was rejected with, as OpenWhisk's Node runtime shows it.
  function rejection(reason) {
    if (!reason) return {};
    return reason instanceof Error ? { name: reason.name, message: reason.message, stack: reason.stack, ...reason } : reason;
  }
  // kind: 0 a result, 1 an error of the action's own making.
  function settle(value) {
    if (value === undefined) value = {};
    if (typeof value !== 'object' || value === null) {
      answer(1, stringify({ error: 'The action did not return a dictionary or array.' }));
      return;
    }
    let text;
    try {
      text = stringify(value);
    } catch (error) {
      answer(1, stringify({ error: `The action did not return a dictionary or array: ${error}` }));
      return;
    }
    answer(0, text ?? '{}');
  }

  return {
    // start calls the user's main; lexical is a main that is a const or a class.
    start(lexical) {
      let main = lexical;
      if (typeof main !== 'function') main = global.main;
      if (typeof main !== 'function') main = global.module.exports.main ?? global.exports.main;
      if (typeof main !== 'function' && typeof global.module.exports === 'function') main = global.module.exports;
      if (typeof main !== 'function') {
        answer(1, stringify({ error: "Initialization has failed due to: Action entrypoint 'main' is not a function." }));
        return;
      }
      let result;
      try {
        result = main(parse(parameters));
      } catch (error) {
        log(2, inspect(error));
        answer(1, stringify({ error: `An error has occurred: ${error}` }));
        return;
      }
      resolve(result).then(settle, (reason) => settle({ error: rejection(reason) })).catch((error) => {
        answer(1, stringify({ error: `An error has occurred: ${error}` }));
      });
    },
    // turn runs the timer whose time has come, and returns how many milliseconds
    // to wait before it is called again, or -1 when no timer is left.
    turn() {
      const first = earliest();
      if (first === undefined) return -1;
      const timer = timers.get(first);
      const wait = timer.at - now();
      if (wait > 0) return wait;
      if (timer.every) timer.at = now() + timer.every;
      else timers.delete(first);
      try {
        timer.callback(...timer.values);
      } catch (error) {
        log(2, inspect(error));
        answer(1, stringify({ error: `An error has occurred: ${error}` }));
      }
      return 0;
    },
  };
})
