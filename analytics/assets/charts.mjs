// The parts of Apache ECharts (Apache-2.0) that the dashboard draws with.
import * as core from "echarts/core";
import { FunnelChart, LineChart, MapChart, PieChart } from "echarts/charts";
import { AriaComponent, GridComponent, LegendComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent, VisualMapContinuousComponent } from "echarts/components";
import { SVGRenderer } from "echarts/renderers";
core.use([FunnelChart, LineChart, MapChart, PieChart, AriaComponent, GridComponent, LegendComponent, MarkAreaComponent, MarkLineComponent, TooltipComponent, VisualMapContinuousComponent, SVGRenderer]);
window.charts = { init: core.init, registerMap: core.registerMap };
