package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// boundService is a service in VCAP_SERVICES, with what the state needs of it:
// https://docs.cloudfoundry.org/devguide/deploy-apps/environment-variable.html#VCAP-SERVICES
type boundService struct {
	Name         string         `json:"name"`
	InstanceName string         `json:"instance_name"`
	BindingName  string         `json:"binding_name"`
	Label        string         `json:"label"`
	Tags         []string       `json:"tags"`
	Credentials  map[string]any `json:"credentials"`
}

// stateURL is the URL of the state database. A service that CHANDLER_STATE_SERVICE names
// takes precedence, because Cloud Foundry sets DATABASE_URL itself, to any bound database.
func (r *reader) stateURL() string {
	wanted, given, bound := r.text("CHANDLER_STATE_SERVICE", ""), r.text("DATABASE_URL", ""), r.text("VCAP_SERVICES", "")
	if wanted == "" && (given != "" || bound == "") {
		return given
	}
	service, err := stateService(bound, wanted)
	if err != nil {
		r.faults = append(r.faults, err)
		return ""
	}
	if service == nil { // none of the services is a PostgreSQL: DATABASE_URL is missing
		return ""
	}
	u, err := service.databaseURL()
	if err != nil {
		r.fault("VCAP_SERVICES: service %q: %w", service.Name, err)
	}
	return u
}

// stateService returns the wanted service, or the only PostgreSQL service; nil if there is
// none. Of VCAP_SERVICES, errors contain only names.
func stateService(bound, wanted string) (*boundService, error) {
	if bound == "" {
		return nil, fmt.Errorf("CHANDLER_STATE_SERVICE names %q, but VCAP_SERVICES is not set: bind the service, or set only DATABASE_URL", wanted)
	}
	labels := map[string][]boundService{}
	if err := json.Unmarshal([]byte(bound), &labels); err != nil {
		return nil, fmt.Errorf("VCAP_SERVICES must be a JSON object with a list of services for each label, as Cloud Foundry sets it")
	}
	var found []boundService
	var names []string
	for _, services := range labels {
		for _, s := range services {
			names = append(names, strconv.Quote(s.Name))
			if wanted == "" && s.isPostgres() || wanted != "" && s.isCalled(wanted) {
				found = append(found, s)
			}
		}
	}
	slices.Sort(names)
	switch {
	case len(found) == 1:
		return &found[0], nil
	case wanted != "" && len(found) == 0:
		return nil, fmt.Errorf("CHANDLER_STATE_SERVICE names %q, which is not bound; bound services: %s", wanted, strings.Join(names, ", "))
	case wanted != "":
		return nil, fmt.Errorf("CHANDLER_STATE_SERVICE names %q, but several services have this name: use a binding's name", wanted)
	case len(found) == 0:
		return nil, nil
	}
	for i := range found {
		found[i].Name = strconv.Quote(found[i].Name)
	}
	slices.SortFunc(found, func(a, b boundService) int { return strings.Compare(a.Name, b.Name) })
	return nil, fmt.Errorf("several PostgreSQL services are bound, %s and %s: set CHANDLER_STATE_SERVICE to the name of the broker's state database",
		found[0].Name, found[1].Name)
}

func (s boundService) isCalled(name string) bool {
	return s.Name == name || s.InstanceName == name || s.BindingName == name
}

func (s boundService) isPostgres() bool {
	if strings.Contains(strings.ToLower(s.Label), "postgres") {
		return true
	}
	for _, tag := range s.Tags {
		if t := strings.ToLower(tag); t == "postgres" || t == "postgresql" {
			return true
		}
	}
	scheme, _, _ := strings.Cut(s.text("uri", "url"), "://")
	return scheme == "postgres" || scheme == "postgresql"
}

// text is the first credential that exists among the names that brokers use for it.
func (s boundService) text(keys ...string) string {
	for _, key := range keys {
		switch v := s.Credentials[key].(type) {
		case string:
			if v != "" {
				return v
			}
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}

func (s boundService) databaseURL() (string, error) {
	if _, ref := s.Credentials["credhub-ref"]; ref {
		return "", fmt.Errorf("its credentials are an unresolved CredHub reference; set DATABASE_URL")
	}
	if given := s.text("uri", "url", "database_uri"); given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Host == "" || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return "", fmt.Errorf("its uri must be a PostgreSQL URL (postgres://user:password@host:port/database)")
		}
		return given, nil
	}
	return s.assembledURL()
}

// assembledURL makes a URL from separate credentials.
func (s boundService) assembledURL() (string, error) {
	host := s.text("host", "hostname", "db_host")
	port := s.text("port", "db_port")
	user := s.text("username", "user", "db_username", "db_user")
	password := s.text("password", "pass", "db_password")
	database := s.text("name", "database", "dbname", "db_name", "database_name")
	for _, part := range []struct{ name, value string }{
		{"host", host}, {"username", user}, {"password", password}, {"name (the database's)", database},
	} {
		if part.value == "" {
			return "", fmt.Errorf("its credentials have neither uri nor %s", part.name)
		}
	}
	if port == "" {
		port = "5432"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("its port must be a whole number from 1 to 65535")
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password),
		Host: net.JoinHostPort(strings.Trim(host, "[]"), port), Path: "/" + database,
	}
	if mode := s.text("sslmode", "ssl_mode"); mode != "" {
		u.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	}
	return u.String(), nil
}
