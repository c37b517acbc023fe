// Package server assembles a function runtime: the API of package openwhisk, the feeds,
// the sandbox that runs code, the state that all runtimes share, and its retention.
package server

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/functions/state"
)

// Options is what a runtime needs. Fields with a default may be zero; all others are
// required.
type Options struct {
	// Store is the database that the runtimes share; closing the runtime does not close it.
	Store *state.Store
	// Sealer holds the keys that the runtimes share.
	Sealer *state.Sealer
	// APIHost is the URL of the runtimes for applications and functions, without a path.
	APIHost string
	// CacheDir is the folder of compiled code, created if missing. Runtimes of one
	// machine may share it; nobody else may write there.
	CacheDir string
	// WorkerCommand is a program, with its arguments, that calls sandbox.Worker.
	WorkerCommand []string
	// Workers is how many run code; default: one for each processor, two at least.
	Workers int
	// Activations is how many run at a time, of all namespaces together;
	// default: 1000.
	Activations int
	// MessageServers are those that feeds may connect to, as host:port, or
	// feed.AnyServer; default: none.
	MessageServers []string
	// Grace is how long activations in progress may continue when the runtime
	// ends; default: 10 s.
	Grace    time.Duration
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

func (o *Options) complete() error {
	if o.Store == nil || o.Sealer == nil || o.APIHost == "" || o.CacheDir == "" || len(o.WorkerCommand) == 0 || o.Registry == nil || o.Logger == nil {
		return errors.New("a function runtime needs a database, keys, the URL it is reached at, a folder, a worker's command, a registry and a logger")
	}
	o.Activations = cmp.Or(o.Activations, 1000)
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	return nil
}
