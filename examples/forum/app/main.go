// Forum is a small application that uses a service of each family: a database, a queue, a zone,
// a file system and functions. README.md shows how to run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, log, os.Args[1:], os.Getenv); err != nil {
		log.Error("the forum ends", "error", err)
		os.Exit(1)
	}
}

// The interval in which the server looks for changed credentials, and the time that visitors
// have at its end.
const (
	lookEvery = time.Second
	drainTime = 20 * time.Second
)

func run(ctx context.Context, log *slog.Logger, args []string, getenv func(string) string) error {
	flags := flag.NewFlagSet("forum", flag.ContinueOnError)
	port := getenv("PORT")
	listen := flags.String("listen", net.JoinHostPort("", port), "the host:port to serve on (default: the PORT of the environment)")
	var o options
	flags.StringVar(&o.functions, "functions", "functions", "the folder with crop.wasm and compress.wasm")
	flags.StringVar(&o.address, "address", "", "the forum's IP address, for the zone")
	flags.StringVar(&o.host, "host", "forum", "the forum's name in the zone")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *listen == ":" {
		return errors.New("no address to serve on: set PORT or -listen")
	}
	source, err := bindings.FromEnvironment(getenv)
	if err != nil {
		return err
	}
	set, err := source.Read()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return newForum(log, o).serve(ctx, listener, source, set)
}

// serve answers visitors until the context ends.
func (f *forum) serve(ctx context.Context, listener net.Listener, source bindings.Source, set bindings.Set) error {
	look := make(chan os.Signal, 1)
	signal.Notify(look, syscall.SIGHUP)
	defer signal.Stop(look)
	server := &http.Server{
		Handler: f.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
	}
	// The connections remain until the last visitor has gone.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { f.run(linked) })
	running.Go(func() { bindings.Watch(linked, source, set, lookEvery, look, f.log, f.rebind) })
	defer running.Wait()
	defer unlink()
	f.rebind(set)
	drained := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		drained <- server.Shutdown(late)
	})
	f.log.Info("serving", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-drained
}
