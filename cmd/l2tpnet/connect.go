package main

import "cmp"

type connectCmd struct {
	Server []string `arg:"" placeholder:"SERVER[:PORT]" help:"The L2TP server's name or address; the port is 1701 when there is none. Of several, the next one is dialled when one fails."`
	dialFlags
	listenFlags `set:"socks=127.0.0.1:1080, or none when there is a -L"`
}

func (cmd *connectCmd) Run(p *program) (err error) {
	services, err := cmd.open(defaultSocks, p.logger(cmd.Verbose))
	if err != nil {
		return err
	}
	defer services.close()
	c, err := cmd.client(p, cmd.Server...)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, c.close()) }()
	c.greeting = services.describe()
	if cmd.Retry {
		err = c.start()
	} else {
		err = c.dial(p.ctx)
	}
	if err != nil {
		return err
	}
	return services.serve(p.ctx, &c.Client, c.wait)
}
