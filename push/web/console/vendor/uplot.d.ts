// What the console uses of uPlot.esm.js.
export default class uPlot {
  constructor(options: any, data: any[], parent: HTMLElement);
  setData(data: any[]): void;
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
  cursor: { idx: number | null };
}
