package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/server"
)

// settings is what the environment says.
type settings struct {
	server.Settings
	LogFormat string
	LogLevel  slog.Level
}

// environment documents every variable that settings reads; the help prints it.
const environment = `Environment:
  DATABASE_URL            the state, postgres://user:password@host:port/database (required,
                          unless a PostgreSQL service is bound)
  CHANDLER_STATE_SERVICE  on Cloud Foundry, the service in VCAP_SERVICES that holds the state;
                          takes precedence over DATABASE_URL (default: the only PostgreSQL
                          bound)
  CHANDLER_LISTEN         address to listen on (default :8080, or :$PORT)
  CHANDLER_CATALOG        the catalog (default catalog.yml); ${NAME} in it reads the environment
  CHANDLER_USERNAME, CHANDLER_PASSWORD
                          the platform's user, if the catalog names no platforms
  CHANDLER_OPERATOR_USERNAME, CHANDLER_OPERATOR_PASSWORD
                          the operator's user, who reads /metrics and the reasons in
                          /readyz, if the catalog names no operators (default: none)
  CHANDLER_TRUSTED_PROXIES
                          networks, separated by commas, whose X-Forwarded-For gives the
                          source by which wrong passwords are counted (default: none)
  CHANDLER_TLS_CERT, CHANDLER_TLS_KEY
                          files for TLS; reloaded when they change
  CHANDLER_LOG_FORMAT     json, text or lager (default json)
  CHANDLER_LOG_LEVEL      info, or debug to log fetches and polls, too (default info)
  CHANDLER_WORKERS        concurrent operations on each server (default 16)
  CHANDLER_ASYNC_WAIT     how long a request waits before the answer 202 (default 3s)
  CHANDLER_SYNC_WAIT      how long a request waits that does not allow 202 (default 50s)
  CHANDLER_RETENTION      retention of ended operations (default 72h)
  CHANDLER_AUDIT_RETENTION
                          retention of the audit record (default 9600h, 400 days)
  CHANDLER_KEEP_EVERY     interval of reconciliation: limits and spares (default 15s)
  CHANDLER_DELETE_AGAIN   how long after a binding's end its secrets are deleted a second
                          time, in case a killed replica's write arrived late (default 5m)
  CHANDLER_BACKUPS_ENDPOINT, CHANDLER_BACKUPS_BUCKET, CHANDLER_BACKUPS_ACCESS_KEY_ID,
  CHANDLER_BACKUPS_SECRET_ACCESS_KEY
                          the store of backups, if the catalog has no section backups (default:
                          none)
  CHANDLER_BACKUPS_REGION, CHANDLER_BACKUPS_PREFIX, CHANDLER_BACKUPS_CA_FILE,
  CHANDLER_BACKUPS_RECIPIENT
                          the same keys of the store, optional there, too
  CHANDLER_ANY_VERSION    true serves requests without X-Broker-API-Version, too (default false)
  CHANDLER_PROFILE_LISTEN a private address, such as 127.0.0.1:6060, where go tool pprof reads
                          profiles (default: none)
  OTEL_EXPORTER_OTLP_ENDPOINT
                          collector that receives traces, such as http://collector:4318
                          (default: none); OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and
                          OpenTelemetry's other variables apply, too
  VAULT_ADDR              the Vault that stores the credentials; docs/operator.md lists its
                          other variables
  CHANDLER_SEALED_KEY, CHANDLER_SEALED_KEY_FILE
                          without Vault: the keys that seal credentials in the state database`

func readSettings(lookup func(string) (string, bool)) (settings, error) {
	r := reader{lookup: lookup}
	s := settings{LogFormat: r.text("CHANDLER_LOG_FORMAT", "json"), LogLevel: r.logLevel()}
	s.Settings = server.Settings{
		DatabaseURL:    r.stateURL(),
		CatalogPath:    r.text("CHANDLER_CATALOG", "catalog.yml"),
		TLSCert:        r.text("CHANDLER_TLS_CERT", ""),
		TLSKey:         r.text("CHANDLER_TLS_KEY", ""),
		Username:       r.text("CHANDLER_USERNAME", ""),
		Password:       r.text("CHANDLER_PASSWORD", ""),
		Workers:        r.number("CHANDLER_WORKERS", 16, 1, 1000),
		AsyncWait:      r.duration("CHANDLER_ASYNC_WAIT", 3*time.Second, 0, 55*time.Second),
		SyncWait:       r.duration("CHANDLER_SYNC_WAIT", 50*time.Second, time.Second, 55*time.Second),
		Retention:      r.duration("CHANDLER_RETENTION", 72*time.Hour, time.Minute, 10*365*24*time.Hour),
		AuditRetention: r.duration("CHANDLER_AUDIT_RETENTION", 400*24*time.Hour, 24*time.Hour, 100*365*24*time.Hour),
		ReconcileEvery: r.duration("CHANDLER_KEEP_EVERY", 15*time.Second, time.Second, time.Hour),
		RedeleteAfter:  r.duration("CHANDLER_DELETE_AGAIN", 5*time.Minute, time.Second, 24*time.Hour),
		AnyVersion:     r.boolean("CHANDLER_ANY_VERSION"),
		Lookup:         lookup,
		Version:        version(),

		OperatorUsername: r.text("CHANDLER_OPERATOR_USERNAME", ""),
		OperatorPassword: r.text("CHANDLER_OPERATOR_PASSWORD", ""),
		TrustedProxies:   r.networks("CHANDLER_TRUSTED_PROXIES"),
		TracingEndpoint:  r.tracingEndpoint(),
		ProfileListen:    r.privateAddress("CHANDLER_PROFILE_LISTEN"),
		Implementations:  implementations(),
	}
	port := r.number("PORT", 8080, 1, 65535)
	s.Listen = r.text("CHANDLER_LISTEN", ":"+strconv.Itoa(port))
	for _, pair := range [][2]string{
		{"CHANDLER_TLS_CERT", "CHANDLER_TLS_KEY"}, {"CHANDLER_USERNAME", "CHANDLER_PASSWORD"}, {"CHANDLER_OPERATOR_USERNAME", "CHANDLER_OPERATOR_PASSWORD"},
	} {
		if (r.text(pair[0], "") == "") != (r.text(pair[1], "") == "") {
			r.fault("%s and %s go together: set both or neither", pair[0], pair[1])
		}
	}
	if s.OperatorPassword != "" && s.OperatorPassword == s.Password {
		r.fault("CHANDLER_OPERATOR_PASSWORD must differ from CHANDLER_PASSWORD: platforms must not read the metrics")
	}
	if err := errors.Join(r.faults...); err != nil {
		return s, usageError{err}
	}
	return s, nil
}

func environmentSettings() (settings, error) {
	s, err := readSettings(os.LookupEnv)
	s.Variables = server.NewVariables(s.Settings)
	return s, err
}

// reader collects all faults, so that they are reported together.
type reader struct {
	lookup func(string) (string, bool)
	faults []error
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

func (r *reader) networks(name string) []netip.Prefix {
	var networks []netip.Prefix
	for _, text := range strings.Split(r.text(name, ""), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		network, err := netip.ParsePrefix(text)
		if address, fault := netip.ParseAddr(text); fault == nil {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			r.fault("%s must be networks such as 10.0.0.0/8, separated by commas", name)
			return nil
		}
		networks = append(networks, network)
	}
	return networks
}

func (r *reader) logLevel() slog.Level {
	switch r.text("CHANDLER_LOG_LEVEL", "info") {
	case "info":
	case "debug":
		return slog.LevelDebug
	default:
		r.fault("CHANDLER_LOG_LEVEL must be info or debug")
	}
	return slog.LevelInfo
}

func (r *reader) number(name string, otherwise, least, most int) int {
	return limited(r, name, otherwise, least, most, "whole number", strconv.Atoi)
}

func (r *reader) duration(name string, otherwise, least, most time.Duration) time.Duration {
	return limited(r, name, otherwise, least, most, "duration such as 10s,", time.ParseDuration)
}

// limited reads a variable whose value has limits.
func limited[T cmp.Ordered](r *reader, name string, otherwise, least, most T, form string, parse func(string) (T, error)) T {
	text := r.text(name, "")
	if text == "" {
		return otherwise
	}
	v, err := parse(text)
	if err != nil || v < least || v > most {
		r.fault("%s must be a %s from %v to %v", name, form, least, most)
	}
	return v
}

func (r *reader) boolean(name string) bool {
	text := r.text(name, "false")
	b, err := strconv.ParseBool(text)
	if err != nil {
		r.fault("%s must be true or false", name)
	}
	return b
}

// tracingEndpoint reads where spans go from OpenTelemetry's own variables (OTLP Exporter
// Configuration); empty: nowhere. The exporter reads the other variables of that page.
func (r *reader) tracingEndpoint() string {
	name := "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	endpoint := r.text(name, "")
	if endpoint == "" {
		name = "OTEL_EXPORTER_OTLP_ENDPOINT"
		endpoint = r.text(name, "")
	}
	if endpoint == "" {
		return ""
	}
	// A URL may hold a password, so the fault does not repeat it.
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		r.fault("%s: must be http://host:port or https://host:port", name)
	}
	for _, protocol := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if p := r.text(protocol, "http/protobuf"); p != "http/protobuf" {
			r.fault("%s must be http/protobuf, which collectors accept on port 4318, not %s", protocol, p)
		}
	}
	return endpoint
}

// privateAddress reads an address that only this machine or a private network reaches:
// profiles show the contents of memory.
func (r *reader) privateAddress(name string) string {
	listen := r.text(name, "")
	if listen == "" {
		return ""
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		r.fault("%s: must be an address and a port, such as 127.0.0.1:6060", name)
		return ""
	}
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.IsLoopback() && !ip.IsPrivate()) {
		r.fault("%s: %s is not a private address; profiles show the contents of memory, so listen on 127.0.0.1 and connect through a tunnel", name, listen)
	}
	return listen
}
