package sandbox

import "context"

// PrepareEngine compiles the engine of JavaScript, where that was not done before,
// so that the first script need not wait for it.
func (p *Pool) PrepareEngine(ctx context.Context) error { return p.Prepare(ctx, engineCode()) }
