// Package sandbox runs the code of actions: WebAssembly modules that follow
// WASI preview 1, and JavaScript, in an engine that is such a module itself.
//
// A [Pool] passes each [Call] to one of a few subprocesses, the workers, and returns its
// [Outcome]. A separate process compiles a module once, into a folder by the hash of its
// code. Each call gets its own instance, which is discarded when the call ends. A call
// sees its input, its environment and its mounts, and nothing else: no network, no other
// file, no other process.
package sandbox

import (
	"context"
	"encoding/json"
	"time"
)

// Kind is how code is run.
type Kind string

// The kinds of code.
const (
	// WASM is a WASI preview 1 command: a module with a function _start.
	WASM Kind = "wasm"
	// JavaScript is a source text that defines main, as in OpenWhisk's nodejs:default.
	JavaScript Kind = "javascript"
)

// Code is what an action runs, identified by Hash and Kind.
type Code struct {
	// Hash is the SHA-256 of the code's bytes, 64 lower-case hexadecimal digits.
	Hash string
	Kind Kind
	// Load returns the code's bytes. It is called only to compile the code, also by Run.
	Load func(context.Context) ([]byte, error) `json:"-"`
}

// Call is one activation.
type Call struct {
	Code Code
	// CGI runs the code as a program of RFC 3875 instead of one that reads and writes
	// JSON. JavaScript has no CGI.
	CGI bool
	// Input is the standard input: the parameters as one JSON object, or a request's
	// body for CGI.
	Input []byte `json:"-"`
	// Env is the whole environment: __OW_*, the meta-variables of CGI.
	Env map[string]string
	// Mounts are the folders that the code sees.
	Mounts []Mount
	Limits Limits
	// Namespace is whose call this is, for logs.
	Namespace string `json:"-"`
}

// Limits bound one call.
type Limits struct {
	// Timeout is how long the code may run. Loading and compiling do not count.
	Timeout time.Duration
	// Memory is what the code may use, in bytes.
	Memory int64
	// LogBytes limits the log; a last line says where it was cut off.
	LogBytes int64
	// ResultBytes limits the result, or CGI's whole output.
	ResultBytes int64
}

// Status is how a call ended, in OpenWhisk's words.
type Status string

// The statuses.
const (
	Success          Status = "success"
	ApplicationError Status = "application error"      // the code answered {"error": …}
	DeveloperError   Status = "action developer error" // the code broke a rule: a limit, a trap, an invalid answer
	InternalError    Status = "whisk internal error"   // not the code's fault
)

// Outcome is the result of a call.
type Outcome struct {
	Status Status
	// Result is a JSON object or array: what the code answered, or {"error": "…"} that
	// says what happened. It is nil after a successful CGI call.
	Result json.RawMessage `json:"-"`
	// Output is what a successful CGI call wrote to standard output; see
	// [ParseCGI].
	Output []byte `json:"-"`
	Logs   []LogLine
	// Cold says that the code had to be compiled, or loaded from disk, first.
	Cold bool
	// Wait is the time until a worker took the call, Init that of compiling
	// and loading when Cold, and Duration that of the run.
	Wait, Init, Duration time.Duration
}

// developerError is the outcome of code that broke a rule.
func developerError(text string) Outcome {
	return Outcome{Status: DeveloperError, Result: object(text)}
}

func internalError(text string) Outcome { return Outcome{Status: InternalError, Result: object(text)} }

// LogLine is one line that the code wrote, without its line feed.
type LogLine struct {
	Time   time.Time `json:"time"`
	Stream string    `json:"stream"` // stdout or stderr
	Text   string    `json:"text"`   // valid UTF-8
}

// String is the line as activation records hold it.
func (l LogLine) String() string {
	return l.Time.UTC().Format("2006-01-02T15:04:05.000000000Z") + " " + l.Stream + ": " + l.Text
}

// CodeError says what is wrong with the user's code. Its text is for the user.
type CodeError struct{ Reason string }

func (e *CodeError) Error() string { return e.Reason }
