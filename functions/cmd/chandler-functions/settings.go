package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/state"
)

// environment documents every variable that settings reads; the help prints it.
const environment = `Environment:
  FUNCTIONS_DATABASE_URL  the runtimes' database:
                          postgres://user:password@host:port/database (required)
  FUNCTIONS_KEY, FUNCTIONS_KEY_FILE
                          the keys that seal parameters in the database, 32 random bytes
                          each in base64 (openssl rand -base64 32); the same for all
                          runtimes (required)
  FUNCTIONS_API_HOST      the URL by which applications and functions reach the runtimes
                          (default http://localhost and the port)
  FUNCTIONS_LISTEN        address of the API (default :3233, or :$PORT)
  FUNCTIONS_TLS_CERT, FUNCTIONS_TLS_KEY
                          files for TLS; reloaded when they change
  FUNCTIONS_ADMIN_LISTEN  address of the administration API (/admin/v1), of /metrics, and
                          of a /readyz that gives reasons (default 127.0.0.1:3234)
  FUNCTIONS_ADMIN_TOKEN, FUNCTIONS_ADMIN_TOKEN_FILE
                          tokens that the administration API accepts, one a line, of at
                          least 20 characters
  FUNCTIONS_ADMIN_TLS_CERT, FUNCTIONS_ADMIN_TLS_KEY
                          files for TLS on FUNCTIONS_ADMIN_LISTEN
  FUNCTIONS_ADMIN_CLIENT_CA
                          file of the authorities whose client certificates the
                          administration API accepts. Without tokens and authorities
                          the API is off.
  FUNCTIONS_CACHE         folder of compiled code, of this runtime's user alone
                          (default chandler/functions in the user's cache folder)
  FUNCTIONS_WORKERS       worker processes that run code (default: one for each processor)
  FUNCTIONS_ACTIVATIONS   activations at a time, of all namespaces together (default 1000)
  FUNCTIONS_CONNECTIONS   connections to the database (default 16)
  FUNCTIONS_MESSAGE_SERVERS
                          host:port of each message server that feeds may connect to,
                          separated by commas; * allows any (default: none)
  CHANDLER_LOG_FORMAT     json, text, or lager, the format of Cloud Foundry (default json)
  CHANDLER_LOG_LEVEL      info or debug (default info)
  CHANDLER_PROFILE_LISTEN private address of /debug/pprof/ (default: none)
  OTEL_EXPORTER_OTLP_ENDPOINT
                          OpenTelemetry collector that takes spans by http/protobuf
                          (default: none)`

// settings are the differences between deployments of the runtime.
type settings struct {
	databaseURL         string
	connections         int
	sealer              *state.Sealer
	apiHost             string
	listen, adminListen string
	tls, adminTLS       tlsFiles
	administrators      *admin.Authenticator
	cache               string
	workers             int
	activations         int
	messageServers      []string
	tracingEndpoint     string
	profileListen       string
	logFormat           string
	logLevel            slog.Level
}

// tlsFiles are a certificate and its key; empty without TLS.
type tlsFiles struct{ cert, key string }

// reader collects all faults, which are reported together.
type reader struct {
	lookup func(string) (string, bool)
	faults []error
}

func readSettings(lookup func(string) (string, bool)) (settings, error) {
	r := reader{lookup: lookup}
	s := settings{
		databaseURL:     r.text("FUNCTIONS_DATABASE_URL", ""),
		connections:     r.number("FUNCTIONS_CONNECTIONS", 16, 4, 1000),
		adminListen:     r.text("FUNCTIONS_ADMIN_LISTEN", "127.0.0.1:3234"),
		tls:             r.tlsFiles("FUNCTIONS_TLS"),
		adminTLS:        r.tlsFiles("FUNCTIONS_ADMIN_TLS"),
		sealer:          r.keys(),
		cache:           r.cache(),
		workers:         r.number("FUNCTIONS_WORKERS", 0, 1, 1000),
		activations:     r.number("FUNCTIONS_ACTIVATIONS", 1000, 1, 100_000),
		messageServers:  r.messageServers(),
		tracingEndpoint: r.tracingEndpoint(),
		profileListen:   r.profileListen(),
		logFormat:       r.text("CHANDLER_LOG_FORMAT", "json"),
		logLevel:        r.logLevel(),
	}
	if s.databaseURL == "" {
		r.fault("FUNCTIONS_DATABASE_URL is missing: set it to the PostgreSQL database that all runtimes share")
	}
	r.addresses(&s)
	s.administrators = r.administrators(s.adminTLS)
	if err := errors.Join(r.faults...); err != nil {
		return s, usageError{err}
	}
	return s, nil
}

func (r *reader) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf(format, args...))
}

func (r *reader) text(name, otherwise string) string {
	if v, ok := r.lookup(name); ok && v != "" {
		return v
	}
	return otherwise
}

func (r *reader) number(name string, otherwise, least, most int) int {
	text := r.text(name, "")
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		r.fault("%s must be a whole number from %d to %d", name, least, most)
	}
	return n
}

// textOrFile is the value of a variable, or the content of the file that the
// variable NAME_FILE names.
func (r *reader) textOrFile(name string) ([]byte, error) {
	text, file := r.text(name, ""), r.text(name+"_FILE", "")
	if text != "" || file == "" {
		return []byte(text), nil
	}
	return os.ReadFile(file)
}

func (r *reader) tlsFiles(name string) tlsFiles {
	f := tlsFiles{r.text(name+"_CERT", ""), r.text(name+"_KEY", "")}
	if (f.cert == "") != (f.key == "") {
		r.fault("%[1]s_CERT and %[1]s_KEY must be set together", name)
	}
	return f
}

func (r *reader) addresses(s *settings) {
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
}

func (r *reader) messageServers() (servers []string) {
	for _, server := range strings.Split(r.text("FUNCTIONS_MESSAGE_SERVERS", ""), ",") {
		if server = strings.TrimSpace(server); server == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(server); err != nil && server != feed.AnyServer {
			r.fault("FUNCTIONS_MESSAGE_SERVERS must be host:port, or several with commas between them, or *")
		}
		servers = append(servers, server)
	}
	return servers
}

func (r *reader) keys() *state.Sealer {
	text, err := r.textOrFile("FUNCTIONS_KEY")
	if err == nil && len(text) == 0 {
		err = errors.New("one of them is required; 'openssl rand -base64 32' makes a key")
	}
	var sealer *state.Sealer
	if err == nil {
		sealer, err = state.ParseKeys(text)
	}
	if err != nil {
		r.fault("FUNCTIONS_KEY, FUNCTIONS_KEY_FILE: %w", err)
	}
	return sealer
}

// administrators are nil where nobody may use the administration API.
func (r *reader) administrators(served tlsFiles) *admin.Authenticator {
	var authorities []byte
	tokens, err := r.textOrFile("FUNCTIONS_ADMIN_TOKEN")
	if file := r.text("FUNCTIONS_ADMIN_CLIENT_CA", ""); file != "" && err == nil {
		authorities, err = os.ReadFile(file)
		if served.cert == "" {
			r.fault("FUNCTIONS_ADMIN_CLIENT_CA needs TLS: set FUNCTIONS_ADMIN_TLS_CERT and FUNCTIONS_ADMIN_TLS_KEY too")
		}
	}
	var a *admin.Authenticator
	if err == nil {
		a, err = admin.NewAuthenticator(tokens, authorities)
	}
	if err != nil {
		r.fault("FUNCTIONS_ADMIN_TOKEN, FUNCTIONS_ADMIN_TOKEN_FILE, FUNCTIONS_ADMIN_CLIENT_CA: %w", err)
	}
	return a
}

func (r *reader) cache() string {
	if folder := r.text("FUNCTIONS_CACHE", ""); folder != "" {
		// Workers reach a descriptor of this process through its number.
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

// profileListen is a private address: profiles show what is in memory.
func (r *reader) profileListen() string {
	listen := r.text("CHANDLER_PROFILE_LISTEN", "")
	host, _, err := net.SplitHostPort(listen)
	ip, noIP := netip.ParseAddr(host)
	switch {
	case listen == "":
	case err != nil:
		r.fault("CHANDLER_PROFILE_LISTEN must be an address and a port, such as 127.0.0.1:6060")
	case host != "localhost" && (noIP != nil || !ip.IsLoopback() && !ip.IsPrivate()):
		r.fault("CHANDLER_PROFILE_LISTEN: %s is not a private address; profiles show what is in memory, so listen on 127.0.0.1 and use a tunnel", listen)
	}
	return listen
}

func (r *reader) logLevel() slog.Level {
	level, known := map[string]slog.Level{"info": slog.LevelInfo, "debug": slog.LevelDebug}[r.text("CHANDLER_LOG_LEVEL", "info")]
	if !known {
		r.fault("CHANDLER_LOG_LEVEL must be info or debug")
	}
	return level
}
