package servicetest_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// A backend for the memory server, with a flaw if a test asks for one.

type (
	config struct {
		Address      string `json:"address"`
		Applications string `json:"applications"` // the address that they are told
		Token        string `json:"token"`
	}
	plan struct {
		Sessions int `json:"sessions"`
	}
	params struct {
		Colour string `json:"colour"`
		Shape  string `json:"shape"` // fixed at creation
	}
	bindParams struct {
		Role string `json:"role"`
	}
)

func (p *bindParams) Validate() error {
	if p.Role != "" && p.Role != "read_only" {
		return errors.New(`role: must be "read_only" or left out`)
	}
	return nil
}

type (
	instance = services.Instance[plan, params]
	binding  = services.Binding[bindParams]
)

type memory struct {
	config config
	flaw   string
}

func (m *memory) has(flaw string) bool { return m.flaw == flaw }

const (
	paramsSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"colour": {"description": "A colour.", "type": "string", "maxLength": 20},
			"shape": {"description": "A shape.", "type": "string"}}}`
	bindSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"role": {"description": "What it may do.", "enum": ["read_only"]}}}`
)

func definition(flaw string) services.Definition {
	create, update := paramsSchema, paramsSchema
	switch flaw {
	case flawSchema:
		create = strings.Replace(create, "colour", "color", 1)
	case flawUpdateSchema:
		update = strings.Replace(update, "shape", "colour2", 1)
	}
	if slices.Contains(heldFlaws(), flaw) {
		return services.Define("database/holder",
			services.Schemas{InstanceCreate: []byte(create), InstanceUpdate: []byte(update), BindingCreate: []byte(bindSchema)},
			services.Client{CredentialType: "memory", Dial: dialMemory},
			func(_ context.Context, c config) (*holder, error) { m := &memory{c, flaw}; return &holder{m, m}, nil })
	}
	return services.Define("database/memory",
		services.Schemas{InstanceCreate: []byte(create), InstanceUpdate: []byte(update), BindingCreate: []byte(bindSchema)},
		services.Client{CredentialType: "memory", Dial: dialMemory},
		func(_ context.Context, c config) (services.Backend[plan, params, bindParams], error) {
			return &memory{c, flaw}, nil
		})
}

// do makes one call, on a connection of its own.
func do(ctx context.Context, address string, r request) (response, error) {
	s, err := connect(ctx, address)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = s.Close() }()
	return s.do(ctx, r)
}

func (m *memory) do(ctx context.Context, op, key, value string) ([]string, error) {
	answer, err := do(ctx, m.config.Address, request{Op: op, Token: m.config.Token, Key: key, Value: value})
	switch {
	case err != nil && m.has(flawLeak):
		return nil, fmt.Errorf("call with token %s: %w", m.config.Token, err)
	case err != nil && m.has(flawBlame):
		return nil, services.Rejected("try again: %v", err)
	}
	return answer.Keys, err
}

func (m *memory) name(inst instance) string {
	if m.has(flawNames) {
		return strings.ToLower(strings.NewReplacer("/", "-", " ", "").Replace(inst.ID))
	}
	return inst.Name
}

func (m *memory) Ready(ctx context.Context) error {
	_, err := m.do(ctx, "list", "ready", "")
	return err
}

func (m *memory) Provision(ctx context.Context, r services.ProvisionRequest[plan, params]) (services.ProvisionResult, error) {
	n := m.name(r.Instance)
	there, err := m.do(ctx, "list", "instance/"+n, "")
	if err != nil {
		return services.ProvisionResult{}, err
	}
	if len(there) > 0 && m.has(flawAgain) {
		return services.ProvisionResult{}, errors.New("exists already")
	}
	if len(there) > 0 && m.has(flawHalf) {
		return services.ProvisionResult{}, nil
	}
	if _, err := m.do(ctx, "put", "instance/"+n, r.Instance.Params.Colour); err != nil {
		return services.ProvisionResult{}, err
	}
	return services.ProvisionResult{}, m.limit(ctx, r.Instance)
}

func (m *memory) limit(ctx context.Context, inst instance) error {
	sessions := inst.Plan.Sessions
	if m.has(flawLimit) {
		sessions = 1000
	}
	_, err := m.do(ctx, "put", "quota/"+m.name(inst), strings.Repeat("x", sessions))
	return err
}

func (m *memory) CheckUpdate(r services.UpdateRequest[plan, params]) error {
	if r.Instance.Params.Shape != "" && (r.Instance.Params.Shape != r.Previous.Params.Shape || m.has(flawRepeated)) {
		return services.FixedAtCreation("shape", "create a new instance")
	}
	return nil
}

func (m *memory) Update(ctx context.Context, r services.UpdateRequest[plan, params]) (services.UpdateResult, error) {
	return services.UpdateResult{}, m.limit(ctx, r.Instance)
}

func (m *memory) Deprovision(ctx context.Context, r services.DeprovisionRequest[plan, params]) (services.DeprovisionResult, error) {
	n := m.name(r.Instance)
	prefixes := []string{"binding/" + n + "/", "data/" + n + "/", "quota/" + n, "instance/" + n, "snapshot/" + n}
	if m.has(flawLeftovers) {
		prefixes = prefixes[1:]
	}
	if m.has(flawStays) {
		prefixes = prefixes[:len(prefixes)-1]
	}
	for _, key := range prefixes {
		if _, err := m.do(ctx, "delete", key, ""); err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	_, err := m.do(ctx, "kill", "binding/"+n+"/", "")
	return services.DeprovisionResult{}, err
}

func (m *memory) Bind(ctx context.Context, r services.BindRequest[plan, params, bindParams]) (services.BindResult, error) {
	n := m.name(r.Instance)
	there, err := m.do(ctx, "list", "instance/"+n, "")
	if err != nil {
		return services.BindResult{}, err
	}
	if len(there) == 0 {
		return services.BindResult{}, errors.New("no such instance")
	}
	password := r.Binding.Seed.Password("password").Reveal()
	if m.has(flawRandom) {
		password = rand.Text()
	}
	if err := m.putAccount(ctx, r.Instance, r.Binding, password); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: services.Credentials{Values: map[string]any{
		"type": "memory", "instance": n, "username": r.Binding.Name, "password": password, "address": m.config.Applications,
	}}}, nil
}

func (m *memory) putAccount(ctx context.Context, inst instance, b binding, password string) error {
	a := account{Password: password, ReadOnly: b.Params.Role == "read_only" && !m.has(flawWrites)}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	_, err = m.do(ctx, "put", "binding/"+m.name(inst)+"/"+b.Name, string(text))
	return err
}

// Verify writes the account again, without checking it.
func (m *memory) Verify(ctx context.Context, r services.VerifyRequest[plan, params, bindParams]) (services.VerifyResult, error) {
	key := "binding/" + m.name(r.Instance) + "/" + r.Binding.Name
	there, err := m.do(ctx, "list", key, "")
	if err != nil || m.has(flawVerify) || len(there) == 0 && !m.has(flawRevive) {
		return services.VerifyResult{}, err
	}
	if m.has(flawCuts) {
		if _, err := m.do(ctx, "kill", key, ""); err != nil {
			return services.VerifyResult{}, err
		}
	}
	return services.VerifyResult{}, m.putAccount(ctx, r.Instance, r.Binding, r.Binding.Seed.Password("password").Reveal())
}

// memoryKey is how much of a user's name is in the key that blocks its unbind, if the
// backend has that flaw.
const memoryKey = 13

func (m *memory) Unbind(ctx context.Context, r services.UnbindRequest[plan, params, bindParams]) (services.UnbindResult, error) {
	key := "binding/" + m.name(r.Instance) + "/" + r.Binding.Name
	there, err := m.do(ctx, "list", key, "")
	if err != nil {
		return services.UnbindResult{}, err
	}
	if len(there) == 0 && m.has(flawAbsent) {
		return services.UnbindResult{}, errors.New("no such binding")
	}
	if m.has(flawBlocked) {
		data, err := m.do(ctx, "list", "data/", "")
		if err != nil || slices.ContainsFunc(data, func(k string) bool { return strings.HasSuffix(k, "/"+r.Binding.Name[:memoryKey]) }) {
			return services.UnbindResult{}, errors.Join(err, errors.New("it is in use"))
		}
	}
	if m.has(flawOrder) && len(there) == 0 {
		return services.UnbindResult{}, nil // a crash between the two calls below leaves the session
	}
	if _, err := m.do(ctx, "delete", key, ""); err != nil || m.has(flawSession) {
		return services.UnbindResult{}, err
	}
	_, err = m.do(ctx, "kill", key, "")
	return services.UnbindResult{}, err
}

// ResourceName implements services.Namer.
func (m *memory) ResourceName(inst instance) string {
	if m.has(flawResource) {
		return inst.Name
	}
	return "instance/" + inst.Name
}

func (m *memory) List(ctx context.Context) ([]services.Resource, error) {
	if m.has(flawList) {
		return nil, nil
	}
	instances, err := m.do(ctx, "list", "instance/", "")
	if err != nil {
		return nil, err
	}
	bindings, err := m.do(ctx, "list", "binding/", "")
	if err != nil {
		return nil, err
	}
	var found []services.Resource
	for _, key := range append(instances, bindings...) {
		parts := append(strings.Split(key, "/"), "")
		found = append(found, services.Resource{Instance: parts[1], Binding: parts[2], Name: key})
	}
	return found, nil
}

// memorySession is one connection to the memory server.
type memorySession struct {
	conn net.Conn
	in   *bufio.Reader
}

func connect(ctx context.Context, address string) (*memorySession, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &memorySession{conn, bufio.NewReader(conn)}, nil
}

func (s *memorySession) do(ctx context.Context, r request) (response, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	defer stop()
	if err := json.NewEncoder(s.conn).Encode(r); err != nil {
		return response{}, err
	}
	line, err := s.in.ReadBytes('\n')
	if err != nil {
		return response{}, err
	}
	var answer response
	if err := json.Unmarshal(line, &answer); err != nil {
		return response{}, err
	}
	if answer.Error != "" {
		return response{}, errors.New(answer.Error)
	}
	return answer, nil
}

func dialMemory(ctx context.Context, c map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := c[key].(string); return s }
	s, err := connect(ctx, text("address"))
	if err != nil {
		return nil, err
	}
	_, err = s.do(ctx, request{Op: "login", Instance: text("instance"), User: text("username"), Password: text("password")})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *memorySession) Write(ctx context.Context, key, value string) error {
	_, err := s.do(ctx, request{Op: "write", Key: key, Value: value})
	return err
}

func (s *memorySession) Read(ctx context.Context, key string) (string, error) {
	answer, err := s.do(ctx, request{Op: "read", Key: key})
	return answer.Value, err
}

func (s *memorySession) Ping(ctx context.Context) error {
	_, err := s.do(ctx, request{Op: "ping"})
	return err
}

func (s *memorySession) Close() error { return s.conn.Close() }
