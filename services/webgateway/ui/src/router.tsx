/** The map of the pages. Views that few open first (graph, code) are loaded when they are needed. */
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type ErrorComponentProps,
  Link,
} from '@tanstack/react-router';
import { Shell } from './components/Shell';
import { Empty, Problem } from './components/ui';
import { parseSearch } from './lib/search';
import { HomePage } from './pages/home/HomePage';

function PageError({ error, reset }: ErrorComponentProps) {
  return (
    <div style={{ padding: 24 }}>
      <Problem error={error} retry={reset} />
    </div>
  );
}

function NotFound() {
  return (
    <Empty title="There is no such page">
      <p>The address may be old. Press / to search for the DAG, run or task.</p>
      <Link className="btn" to="/">
        All DAGs
      </Link>
    </Empty>
  );
}

const root = createRootRoute({ component: Shell, validateSearch: parseSearch, notFoundComponent: NotFound });

const home = createRoute({ getParentRoute: () => root, path: '/', component: HomePage });
const runs = createRoute({
  getParentRoute: () => root,
  path: '/runs',
  component: lazyRouteComponent(() => import('./pages/runs/RunsPage'), 'RunsPage'),
});

const dag = createRoute({
  getParentRoute: () => root,
  path: '/dags/$dagId',
  component: lazyRouteComponent(() => import('./pages/dag/DagPage'), 'DagPage'),
});
const dagGrid = createRoute({
  getParentRoute: () => dag,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/dag/GridView'), 'GridView'),
});
const dagGraph = createRoute({
  getParentRoute: () => dag,
  path: '/graph',
  component: lazyRouteComponent(() => import('./pages/dag/DagGraphView'), 'DagGraphView'),
});
const dagRuns = createRoute({
  getParentRoute: () => dag,
  path: '/runs',
  component: lazyRouteComponent(() => import('./pages/dag/DagRunsView'), 'DagRunsView'),
});
const dagCalendar = createRoute({
  getParentRoute: () => dag,
  path: '/calendar',
  component: lazyRouteComponent(() => import('./pages/dag/CalendarView'), 'CalendarView'),
});
const dagDurations = createRoute({
  getParentRoute: () => dag,
  path: '/durations',
  component: lazyRouteComponent(() => import('./pages/dag/TimingsView'), 'DurationsView'),
});
const dagLanding = createRoute({
  getParentRoute: () => dag,
  path: '/landing',
  component: lazyRouteComponent(() => import('./pages/dag/TimingsView'), 'LandingView'),
});
const dagBackfills = createRoute({
  getParentRoute: () => dag,
  path: '/backfills',
  component: lazyRouteComponent(() => import('./pages/dag/BackfillsView'), 'BackfillsView'),
});
const dagSimulate = createRoute({
  getParentRoute: () => dag,
  path: '/simulate',
  component: lazyRouteComponent(() => import('./pages/dag/SimulateView'), 'SimulateView'),
});
const dagCode = createRoute({
  getParentRoute: () => dag,
  path: '/code',
  component: lazyRouteComponent(() => import('./pages/dag/CodeView'), 'CodeView'),
});
const dagDetails = createRoute({
  getParentRoute: () => dag,
  path: '/details',
  component: lazyRouteComponent(() => import('./pages/dag/DetailsView'), 'DetailsView'),
});
const dagErrors = createRoute({
  getParentRoute: () => dag,
  path: '/errors',
  component: lazyRouteComponent(() => import('./pages/dag/DagErrorsView'), 'DagErrorsView'),
});
const dagEvents = createRoute({
  getParentRoute: () => dag,
  path: '/events',
  component: lazyRouteComponent(() => import('./pages/dag/DagEventsView'), 'DagEventsView'),
});

const run = createRoute({
  getParentRoute: () => root,
  path: '/dags/$dagId/runs/$runId',
  component: lazyRouteComponent(() => import('./pages/run/RunPage'), 'RunPage'),
});
const runTasks = createRoute({
  getParentRoute: () => run,
  path: '/',
  component: lazyRouteComponent(() => import('./pages/run/TasksView'), 'TasksView'),
});
const runGantt = createRoute({
  getParentRoute: () => run,
  path: '/gantt',
  component: lazyRouteComponent(() => import('./pages/run/GanttView'), 'GanttView'),
});
const runGraph = createRoute({
  getParentRoute: () => run,
  path: '/graph',
  component: lazyRouteComponent(() => import('./pages/run/RunGraphView'), 'RunGraphView'),
});
const runEvents = createRoute({
  getParentRoute: () => run,
  path: '/events',
  component: lazyRouteComponent(() => import('./pages/run/RunEventsView'), 'RunEventsView'),
});
const runConf = createRoute({
  getParentRoute: () => run,
  path: '/conf',
  component: lazyRouteComponent(() => import('./pages/run/ConfView'), 'ConfView'),
});

const task = createRoute({
  getParentRoute: () => root,
  path: '/dags/$dagId/runs/$runId/tasks/$taskId/$mapIndex',
  component: lazyRouteComponent(() => import('./pages/task/TaskPage'), 'TaskPage'),
});

const parseErrors = createRoute({
  getParentRoute: () => root,
  path: '/parse-errors',
  component: lazyRouteComponent(() => import('./pages/errors/ParseErrorsPage'), 'ParseErrorsPage'),
});
const backfills = createRoute({
  getParentRoute: () => root,
  path: '/backfills',
  component: lazyRouteComponent(() => import('./pages/backfills/BackfillsPage'), 'BackfillsPage'),
});
const failures = createRoute({
  getParentRoute: () => root,
  path: '/failures',
  component: lazyRouteComponent(() => import('./pages/failures/FailuresPage'), 'FailuresPage'),
});
const decisions = createRoute({
  getParentRoute: () => root,
  path: '/decisions',
  component: lazyRouteComponent(() => import('./pages/decisions/DecisionsPage'), 'DecisionsPage'),
});
const audit = createRoute({
  getParentRoute: () => root,
  path: '/audit',
  component: lazyRouteComponent(() => import('./pages/audit/AuditPage'), 'AuditPage'),
});
const pools = createRoute({
  getParentRoute: () => root,
  path: '/pools',
  component: lazyRouteComponent(() => import('./pages/admin/PoolsPage'), 'PoolsPage'),
});
const variables = createRoute({
  getParentRoute: () => root,
  path: '/variables',
  component: lazyRouteComponent(() => import('./pages/admin/VariablesPage'), 'VariablesPage'),
});
const connections = createRoute({
  getParentRoute: () => root,
  path: '/connections',
  component: lazyRouteComponent(() => import('./pages/admin/ConnectionsPage'), 'ConnectionsPage'),
});

const assets = createRoute({
  getParentRoute: () => root,
  // Not /assets: there the page's own files are.
  path: '/lineage',
  component: lazyRouteComponent(() => import('./pages/assets/AssetsPage'), 'AssetsPage'),
});
const deadlines = createRoute({
  getParentRoute: () => root,
  path: '/deadlines',
  component: lazyRouteComponent(() => import('./pages/deadlines/DeadlinesPage'), 'DeadlinesPage'),
});

const routeTree = root.addChildren([
  home,
  runs,
  dag.addChildren([
    dagGrid,
    dagGraph,
    dagRuns,
    dagCalendar,
    dagDurations,
    dagLanding,
    dagBackfills,
    dagSimulate,
    dagCode,
    dagDetails,
    dagErrors,
    dagEvents,
  ]),
  run.addChildren([runTasks, runGantt, runGraph, runEvents, runConf]),
  task,
  parseErrors,
  backfills,
  decisions,
  failures,
  audit,
  pools,
  variables,
  connections,
  assets,
  deadlines,
]);

export function createAppRouter() {
  return createRouter({
    routeTree,
    defaultPreload: 'intent',
    defaultErrorComponent: PageError,
    defaultNotFoundComponent: NotFound,
    defaultPendingMs: 150,
    scrollRestoration: true,
  });
}

declare module '@tanstack/react-router' {
  interface Register {
    router: ReturnType<typeof createAppRouter>;
  }
}
