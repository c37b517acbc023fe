package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/hashicorp/vault/api"

	"github.com/chandler-broker/chandler/credhub"
)

// stored is the latest version at a path: nothing where value is nil. The
// version is then not 0 where the latest one alone was deleted.
type stored struct {
	value   json.RawMessage
	version int
}

// read returns the latest version.
func (s *Store) read(ctx context.Context, path credhub.Path) (stored, error) {
	body, err := s.call(ctx, func(c *api.Logical) (*api.Response, error) {
		return c.ReadRawWithContext(ctx, s.address("data", path))
	})
	if err != nil && !isAbsent(err) {
		return stored{}, err
	}
	var answer struct {
		Data struct {
			Data     json.RawMessage
			Metadata struct{ Version int }
		}
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &answer); err != nil {
			return stored{}, errNotVaults // the decoder's error could quote the value
		}
	}
	found := stored{value: answer.Data.Data, version: answer.Data.Metadata.Version}
	if isAbsent(err) {
		found.value = nil
	} else if credhub.CheckValue(found.value) != nil {
		return stored{}, fmt.Errorf("%w: there is no object in it", errNotVaults)
	}
	return found, nil
}

// write stores value as the next version. Where replaces is not nil, it does so
// only when that is the number of the latest version, 0 for none.
func (s *Store) write(ctx context.Context, path credhub.Path, value json.RawMessage, replaces *int) error {
	type options struct {
		CAS *int `json:"cas,omitempty"`
	}
	request, err := json.Marshal(struct {
		Data    json.RawMessage `json:"data"`
		Options options         `json:"options"`
	}{value, options{replaces}})
	if err != nil {
		return errors.New("the value cannot be encoded") // the encoder's error could quote it
	}
	answer, err := s.post(ctx, s.address("data", path), request)
	if err != nil {
		return err
	}
	if version, ok := answer["version"].(json.Number); !ok || version == "0" {
		// An engine of version 1 stores it, with no regard to the options.
		return fmt.Errorf("%w: is the engine at %s/ a KV engine of version 2?", errNotVaults, s.config.Mount)
	}
	return nil
}

// maxAnswer is far above what a binding's credentials need.
const maxAnswer = 16 << 20

// call makes a request and returns the answer's body, with an error where Vault
// refused or did not answer. A token that Vault refuses is replaced first.
//
// It takes answers raw: Vault's client takes the 404 of an engine that is not
// mounted for that of a secret that is not there.
func (s *Store) call(ctx context.Context, request func(*api.Logical) (*api.Response, error)) (body []byte, err error) {
	err = s.session.do(ctx, func() (err error) {
		body, err = s.ask(ctx, request)
		return err
	})
	return body, err
}

// post is call for a request with a body. Its answer is not taken raw: the
// client cuts a raw answer off before it can be read.
func (s *Store) post(ctx context.Context, path string, body []byte) (answer map[string]any, err error) {
	err = s.session.do(ctx, func() error {
		secret, err := s.clients.session.Logical().WriteBytesWithContext(ctx, path, body)
		if err == nil && secret != nil {
			answer = secret.Data
		}
		return s.plain(ctx, err)
	})
	return answer, err
}

// ask makes a request with the token as it is.
func (s *Store) ask(ctx context.Context, request func(*api.Logical) (*api.Response, error)) ([]byte, error) {
	response, err := request(s.clients.session.Logical())
	if response == nil {
		return nil, s.plain(ctx, err)
	}
	defer response.Body.Close()
	body, readErr := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil {
		err = readErr
	}
	return body, s.plain(ctx, err)
}

// plain turns an error of Vault's client into one line for an operator.
func (s *Store) plain(ctx context.Context, err error) error {
	return plain(ctx, s.clients.session.Address(), err)
}

// isAbsent says that the engine answered and has nothing there.
func isAbsent(err error) bool {
	refused, ok := errors.AsType[*refusal](err)
	return ok && refused.status == http.StatusNotFound && len(refused.messages) == 0
}

func isConflict(err error) bool {
	return hasMessage(err, "check-and-set parameter did not match")
}

func wantsVersion(err error) bool {
	return hasMessage(err, "check-and-set parameter required")
}
