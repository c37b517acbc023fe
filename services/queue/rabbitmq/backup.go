package rabbitmq

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// Backup implements services.Streamer: queues, exchanges and bindings, and the messages of streams.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (services.Contents, error) {
	c, err := b.copyVhost(ctx, b.names.vhost(r.Instance.Name))
	if err != nil {
		return services.Contents{}, err
	}
	c.keep()
	if err := json.NewEncoder(r.Writer).Encode(c); err != nil {
		return services.Contents{}, fmt.Errorf("write the copy: %w", err)
	}
	if err := b.copyMessages(ctx, r.Instance, c, r.Writer); err != nil {
		return services.Contents{}, err
	}
	return c.contents(r.Instance.Plan)
}

// copyVhost reads what a virtual host has.
func (b *backend) copyVhost(ctx context.Context, vhost string) (*vhostCopy, error) {
	c := &vhostCopy{Complete: true}
	for kind, into := range map[string]any{
		"queues":    &c.Queues,
		"exchanges": &c.Exchanges,
		"bindings":  &c.Bindings,
	} {
		if err := b.api.get(ctx, "/api/"+kind+"/"+url.PathEscape(vhost)+columns[kind], into); err != nil {
			return nil, explain("read the "+kind+" of virtual host "+vhost, err)
		}
	}
	return c, nil
}

// columns are what a copy needs of each kind.
var columns = map[string]string{
	"queues":    "?columns=name,type,durable,auto_delete,exclusive,arguments,messages",
	"exchanges": "?columns=name,type,durable,auto_delete,internal,arguments",
	"bindings":  "?columns=source,destination,destination_type,routing_key,arguments",
}

// Restore implements services.Streamer. It declares each queue as an application does, so that the
// plan's limits hold and nothing else can be in a copy, and publishes messages as a tenant's user.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	if r.Contents.Format != copyFormat && r.Contents.Format != formatWithoutMessages {
		return services.RestoreResult{}, services.Rejected("the copy has the format %q, and this service restores %q; restore it into the service that it comes from", r.Contents.Format, copyFormat)
	}
	var d copyDetails
	if err := json.Unmarshal(r.Contents.Details, &d); err != nil {
		return services.RestoreResult{}, fmt.Errorf("read the copy's details: %w", err)
	}
	c, lines, err := readCopy(r.Reader)
	if err != nil {
		return services.RestoreResult{}, err
	}
	if err := c.check(); err != nil {
		return services.RestoreResult{}, err
	}
	found, err := c.contents(r.Instance.Plan)
	if err != nil {
		return services.RestoreResult{}, err
	}
	if found.Digest != cmp.Or(d.Definitions, r.Contents.Digest) {
		return services.RestoreResult{}, errDiffers
	}
	if err := d.fits(r.Instance.Plan, found.Counts); err != nil {
		return services.RestoreResult{}, err
	}
	vhost := b.names.vhost(r.Instance.Name)
	if err := b.declareStreams(ctx, vhost, c); err != nil {
		return services.RestoreResult{}, err
	}
	if err := b.restoreMessages(ctx, r.Instance.Name, c, lines, r.Contents.Counts[countMessages]); err != nil {
		return services.RestoreResult{}, err
	}
	if found, err = c.contents(r.Instance.Plan); err != nil {
		return services.RestoreResult{}, err
	}
	if found.Digest != r.Contents.Digest || found.Counts[countMessages] != r.Contents.Counts[countMessages] {
		return services.RestoreResult{}, errDiffers
	}
	return services.RestoreResult{}, b.declare(ctx, vhost, c)
}

var errDiffers = errors.New("the copy is damaged: it does not contain what its description says")

// declareStreams declares the streams of the copy, into which messages come before anything else
// is there.
func (b *backend) declareStreams(ctx context.Context, vhost string, c *vhostCopy) error {
	if _, err := b.api.client(ctx).GetVhost(vhost); absent(err) {
		return fmt.Errorf("virtual host %s does not exist; provision the instance again", vhost)
	} else if err != nil {
		return explain("look at virtual host "+vhost, err)
	}
	known, err := b.exchangeTypes(ctx)
	if err != nil {
		return err
	}
	for _, e := range c.Exchanges {
		if !known[e.Type] {
			return services.Rejected("the exchange %q of the copy has the type %q, which the server does not have; ask your operator for the plugin", e.Name, e.Type)
		}
	}
	for _, n := range c.streams() {
		if err := b.declareQueue(ctx, vhost, c.Queues[n]); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) declareQueue(ctx context.Context, vhost string, q copiedQueue) error {
	path := "/api/queues/" + url.PathEscape(vhost) + "/" + url.PathEscape(q.Name)
	body := map[string]any{"durable": q.Durable, "auto_delete": q.AutoDelete, "arguments": nonNil(q.Arguments)}
	return b.put(ctx, http.MethodPut, path, "the queue", q.Name, body)
}

// declare makes what the copy has. Streams, which are there already, are declared again.
func (b *backend) declare(ctx context.Context, vhost string, c *vhostCopy) error {
	for _, e := range c.Exchanges {
		path := "/api/exchanges/" + url.PathEscape(vhost) + "/" + url.PathEscape(e.Name)
		if err := b.put(ctx, http.MethodPut, path, "the exchange", e.Name, e); err != nil {
			return err
		}
	}
	for _, q := range c.Queues {
		if err := b.declareQueue(ctx, vhost, q); err != nil {
			return err
		}
	}
	for _, bd := range c.Bindings {
		kind := map[string]string{"queue": "q", "exchange": "e"}[bd.DestinationType]
		path := "/api/bindings/" + url.PathEscape(vhost) + "/e/" + url.PathEscape(bd.Source) + "/" + kind + "/" + url.PathEscape(bd.Destination)
		body := map[string]any{"routing_key": bd.RoutingKey, "arguments": nonNil(bd.Arguments)}
		if err := b.put(ctx, http.MethodPost, path, "a binding of", bd.Destination, body); err != nil {
			return err
		}
	}
	return nil
}

// bindOnly binds one queue to the exchange through which messages are restored.
func (b *backend) bindOnly(ctx context.Context, vhost, queue string) error {
	if err := b.unbindAll(ctx, vhost); err != nil {
		return err
	}
	host := url.PathEscape(vhost)
	exchange := map[string]any{"type": "fanout", "durable": false, "auto_delete": false, "internal": false, "arguments": map[string]any{}}
	if err := b.put(ctx, http.MethodPut, "/api/exchanges/"+host+"/"+restoreExchange, "the exchange", restoreExchange, exchange); err != nil {
		return err
	}
	path := "/api/bindings/" + host + "/e/" + restoreExchange + "/q/" + url.PathEscape(queue)
	return b.put(ctx, http.MethodPost, path, "a binding of", queue, map[string]any{"routing_key": "", "arguments": map[string]any{}})
}

// unbindAll removes that exchange.
func (b *backend) unbindAll(ctx context.Context, vhost string) error {
	_, err := b.api.send(ctx, http.MethodDelete, "/api/exchanges/"+url.PathEscape(vhost)+"/"+restoreExchange, nil) //nolint:bodyclose // it is in memory
	return explain("remove exchange "+restoreExchange, err)
}

// exchangeTypes are those that the server has. To others it answers that it failed.
func (b *backend) exchangeTypes(ctx context.Context) (map[string]bool, error) {
	var overview struct {
		Types []struct{ Name string } `json:"exchange_types"`
	}
	if err := b.api.get(ctx, "/api/overview", &overview); err != nil {
		return nil, explain("ask for the types of exchanges", err)
	}
	known := map[string]bool{}
	for _, t := range overview.Types {
		known[t.Name] = true
	}
	return known, nil
}

func nonNil(arguments map[string]any) map[string]any {
	if arguments == nil {
		return map[string]any{}
	}
	return arguments
}

// put declares one thing.
func (b *backend) put(ctx context.Context, method, path, kind, name string, what any) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = b.api.send(ctx, method, path, bytes.NewReader(body)) //nolint:bodyclose // it is in memory
	if statusOf(err) == http.StatusBadRequest {
		return services.Rejected("the server refuses %s %q of the copy: %v; it may lack a plugin, or have a limit that is lower", kind, name, err)
	}
	return explain(fmt.Sprintf("restore %s %q", kind, name), err)
}
