package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
)

// functionsEnvironment documents every variable that functionsSettings reads; the
// help prints it.
const functionsEnvironment = `Environment:
  FUNCTIONS_DATABASE_URL  the runtimes' database, which the broker writes to as well:
                          postgres://user:password@host:port/database (required)
  FUNCTIONS_KEY, FUNCTIONS_KEY_FILE
                          the keys that seal parameters in the database, 32 random bytes
                          each in base64 (openssl rand -base64 32); the same for all
                          runtimes (required)
  FUNCTIONS_API_HOST      the URL by which applications and functions reach the runtimes
                          (default http://localhost and the port)
  FUNCTIONS_LISTEN        address to listen on (default :3233, or :$PORT)
  FUNCTIONS_ADMIN_LISTEN  address of /metrics, and of a /readyz that gives reasons
                          (default 127.0.0.1:3234)
  FUNCTIONS_CACHE         folder of compiled code, of this runtime's user alone
                          (default chandler/functions in the user's cache folder)
  FUNCTIONS_WORKERS       worker processes that run code (default: one for each processor)
  FUNCTIONS_ACTIVATIONS   activations at a time, of all namespaces together (default 1000)
  FUNCTIONS_CONNECTIONS   connections to the database (default 16)
  FUNCTIONS_MESSAGE_SERVERS
                          host:port of each message server that feeds may connect to,
                          separated by commas; * allows any (default: none)
  FUNCTIONS_TLS_CERT, FUNCTIONS_TLS_KEY
                          files for TLS; reloaded when they change
  CHANDLER_LOG_FORMAT, CHANDLER_LOG_LEVEL, CHANDLER_PROFILE_LISTEN,
  OTEL_EXPORTER_OTLP_ENDPOINT
                          as for serve`

// functionsSettings is what differs between deployments of the runtime.
type functionsSettings struct {
	databaseURL         services.Secret
	sealer              *state.Sealer
	apiHost             string
	listen, adminListen string
	cache               string
	workers             int
	activations         int
	connections         int
	messageServers      []string
	tlsCert, tlsKey     string
	tracingEndpoint     string
	profileListen       string
	logFormat           string
	logLevel            slog.Level
}

func readFunctionsSettings(lookup func(string) (string, bool)) (functionsSettings, error) {
	r := reader{lookup: lookup}
	s := functionsSettings{
		databaseURL: services.NewSecret(r.text("FUNCTIONS_DATABASE_URL", "")),
		adminListen: r.text("FUNCTIONS_ADMIN_LISTEN", "127.0.0.1:3234"),
		workers:     r.number("FUNCTIONS_WORKERS", 0, 1, 1000),
		activations: r.number("FUNCTIONS_ACTIVATIONS", 1000, 1, 100_000),
		connections: r.number("FUNCTIONS_CONNECTIONS", 16, 4, 1000),
		tlsCert:     r.text("FUNCTIONS_TLS_CERT", ""),
		tlsKey:      r.text("FUNCTIONS_TLS_KEY", ""),
		logFormat:   r.text("CHANDLER_LOG_FORMAT", "json"),
	}
	s.logLevel = r.logLevel()
	s.tracingEndpoint, s.profileListen = r.tracingEndpoint(), r.privateAddress("CHANDLER_PROFILE_LISTEN")
	if s.databaseURL.IsZero() {
		r.fault("FUNCTIONS_DATABASE_URL is missing; give the database that the broker's backend function/wasm has as database_url")
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		r.fault("FUNCTIONS_TLS_CERT and FUNCTIONS_TLS_KEY go together")
	}
	r.functionsAddresses(&s)
	s.sealer, s.cache = r.functionsKeys(), r.functionsCache()
	if err := errors.Join(r.faults...); err != nil {
		return s, usageError{err}
	}
	return s, nil
}

func (r *reader) functionsAddresses(s *functionsSettings) {
	s.listen = r.text("FUNCTIONS_LISTEN", ":"+strconv.Itoa(r.number("PORT", 3233, 1, 65535)))
	_, port, err := net.SplitHostPort(s.listen)
	if err != nil {
		r.fault("FUNCTIONS_LISTEN must be host:port or :port")
	}
	s.apiHost = r.text("FUNCTIONS_API_HOST", "http://localhost:"+port)
	if u, err := url.Parse(s.apiHost); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		r.fault("FUNCTIONS_API_HOST must be http://host:port or https://host:port, without a path")
	}
	s.apiHost = strings.TrimSuffix(s.apiHost, "/")
	for _, server := range strings.Split(r.text("FUNCTIONS_MESSAGE_SERVERS", ""), ",") {
		if server = strings.TrimSpace(server); server == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(server); err != nil && server != feed.AnyServer {
			r.fault("FUNCTIONS_MESSAGE_SERVERS must be host:port, or several with commas between them, or *")
		}
		s.messageServers = append(s.messageServers, server)
	}
}

func (r *reader) functionsKeys() *state.Sealer {
	text := []byte(r.text("FUNCTIONS_KEY", ""))
	if file := r.text("FUNCTIONS_KEY_FILE", ""); len(text) == 0 && file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			r.fault("FUNCTIONS_KEY_FILE: %w", err)
			return nil
		}
	}
	if len(text) == 0 {
		r.fault("FUNCTIONS_KEY or FUNCTIONS_KEY_FILE is missing; 'openssl rand -base64 32' makes a key")
		return nil
	}
	sealer, err := state.ParseKeys(text)
	if err != nil {
		r.fault("FUNCTIONS_KEY, FUNCTIONS_KEY_FILE: %w", err)
	}
	return sealer
}

func (r *reader) functionsCache() string {
	if folder := r.text("FUNCTIONS_CACHE", ""); folder != "" {
		// What is reached through a descriptor of this process is reached
		// through the same one by its workers.
		if rest, ok := strings.CutPrefix(folder, "/proc/self/"); ok {
			return fmt.Sprintf("/proc/%d/%s", os.Getpid(), rest)
		}
		return folder
	}
	folder, err := os.UserCacheDir()
	if err != nil {
		r.fault("FUNCTIONS_CACHE is missing; name a folder for compiled code")
		return ""
	}
	return filepath.Join(folder, "chandler", "functions")
}
