/** A link to a place of which nobody known is the maker: it is left alone. */
import { type Maker, RESOLV_CONF, serversIn } from './maker.js';

/** What stands there is made anew at each boot, or is gone. */
const PASSING = /^\/(var\/)?(run|tmp)\/|^\/(dev|proc|sys)\//;

export const other: Maker = {
  reads: [],
  asks: [],
  refresh: [],
  tell: () => [],

  afterBoot({ resolvConf }) {
    const { leadsTo = null, text = null } = resolvConf ?? {};
    if (leadsTo === null || text === null)
      return { unknown: `${RESOLV_CONF} leads to nothing, and its maker is unknown` };
    if (PASSING.test(leadsTo)) return { unknown: `${RESOLV_CONF} leads to ${leadsTo}, whose maker is unknown` };
    return { servers: serversIn(text) };
  },
};
